// A reader on named partitions. kafkajs reads in groups alone: each reader is a group of one that commits nothing,
// partitions that were not asked for stay paused, and where to read is said by seeks.
import { randomUUID } from 'node:crypto'
import { PATIENT } from './kafka.js'

const DEADLINE_MS = 120_000
const MAX_WAIT_MS = 100 // a seek or a resume has to wait for the fetch before it

export class Reader {
  #consumer
  #admin
  #topic
  #partitions
  #all = [] // of the topic
  #buffer = [] // fetched and not taken, in order of arrival
  #taken = new Map() // partition -> where the next record to take is at the earliest
  #fetched = new Map() // partition -> the same for the next one to fetch
  #paused = new Set()
  #wake = () => {}

  constructor(kafka, admin, { topic, partitions, isolation }) {
    this.#admin = admin
    this.#topic = topic
    this.#partitions = partitions
    this.#consumer = kafka.consumer({
      groupId: `reader-${randomUUID()}`,
      readUncommitted: isolation !== 'read_committed',
      allowAutoTopicCreation: false,
      maxWaitTimeInMs: MAX_WAIT_MS,
      retry: PATIENT,
    })
  }

  async open() {
    const { topics } = await this.#admin.fetchTopicMetadata({ topics: [this.#topic] })
    this.#all = topics[0].partitions.map((one) => one.partitionId)
    await this.#consumer.connect()
    await this.#consumer.subscribe({ topic: this.#topic, fromBeginning: true })
    this.#consumer.on(this.#consumer.events.GROUP_JOIN, () => this.#place())
    await this.#consumer.run({
      autoCommit: false,
      eachBatch: async ({ batch, isStale }) => {
        if (!isStale()) {
          this.#take(batch)
        }
      },
    })
  }

  // Joining again, without commits, would begin anew: the position is the reader's own to keep.
  #place() {
    for (const partition of this.#all) {
      if (this.#fetched.has(partition) && !this.#paused.has(partition)) {
        this.#to(partition, this.#fetched.get(partition))
      } else {
        this.#consumer.pause([{ topic: this.#topic, partitions: [partition] }])
      }
    }
  }

  #to(partition, offset) {
    this.#consumer.seek({ topic: this.#topic, partition, offset: String(offset) })
    this.#fetched.set(partition, offset)
  }

  #take({ partition, messages }) {
    for (const { offset, timestamp, key, value, headers } of messages) {
      this.#buffer.push([partition, Number(offset), Number(timestamp), text(key), text(value), pairs(headers)])
    }
    if (messages.length > 0) {
      this.#fetched.set(partition, Number(messages.at(-1).offset) + 1)
    }
    this.#wake()
  }

  async seekBeginning() {
    this.seek(await this.#offsets('low'))
  }

  async seekEnd() {
    this.seek(await this.#offsets('high'))
  }

  seek(offsets) {
    for (const [partition, offset] of Object.entries(offsets).map(([p, o]) => [Number(p), o])) {
      this.#drop(partition)
      this.#taken.set(partition, offset)
      this.#to(partition, offset)
      if (!this.#paused.has(partition)) {
        this.#consumer.resume([{ topic: this.#topic, partitions: [partition] }])
      }
    }
  }

  // kafkajs gives the end of the log where no record is at or after the time
  async seekTime(timestampMs) {
    const ends = await this.#offsets('high')
    const found = this.#ours(await this.#admin.fetchTopicOffsetsByTimestamp(this.#topic, timestampMs), 'offset')
    this.seek(found)
    return Object.fromEntries(Object.entries(found).map(([p, offset]) => [p, offset < ends[p] ? offset : null]))
  }

  async #offsets(which) {
    return this.#ours(await this.#admin.fetchTopicOffsets(this.#topic), which)
  }

  #ours(offsets, which) {
    const ours = offsets.filter((one) => this.#partitions.includes(one.partition))
    return Object.fromEntries(ours.map((one) => [one.partition, Number(one[which])]))
  }

  async take(count) {
    const { promise: late, stop } = timer(DEADLINE_MS)
    let isLate = false
    late.then(() => (isLate = true))
    while (this.#buffer.length < count && !isLate) {
      await Promise.race([new Promise((resolve) => (this.#wake = resolve)), late])
    }
    stop()
    const taken = this.#buffer.splice(0, count)
    for (const [partition, offset] of taken) {
      this.#taken.set(partition, offset + 1)
    }
    return taken
  }

  // What was fetched ahead of a pause is given back: it is the library that must not bring more of it.
  pause(partitions) {
    this.#consumer.pause([{ topic: this.#topic, partitions }])
    for (const partition of partitions) {
      this.#paused.add(partition)
      this.#drop(partition)
      if (this.#taken.has(partition)) {
        this.#to(partition, this.#taken.get(partition))
      }
    }
  }

  resume(partitions) {
    for (const partition of partitions) {
      this.#paused.delete(partition)
    }
    this.#consumer.resume([{ topic: this.#topic, partitions }])
  }

  #drop(partition) {
    this.#buffer = this.#buffer.filter((one) => one[0] !== partition)
  }

  async close() {
    await this.#consumer.disconnect()
  }
}

function timer(milliseconds) {
  let handle
  const promise = new Promise((resolve) => (handle = setTimeout(resolve, milliseconds)))
  return { promise, stop: () => clearTimeout(handle) }
}

function pairs(headers) {
  return Object.entries(headers).flatMap(([name, values]) => [values].flat().map((one) => [name, text(one)]))
}

function text(bytes) {
  return bytes === null ? null : bytes.toString('base64')
}
