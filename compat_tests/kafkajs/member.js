// Mode member: a member of a consumer group that tells the records it gets, commits them, and goes on.
import kafkajs from 'kafkajs'
import { once } from 'node:events'
import { nameOf } from './errors.js'
import { emit, lines } from './events.js'
import { kafkaAt, PATIENT } from './kafka.js'

const MAX_WAIT_MS = 100 // kafkajs sends its heartbeats between fetches and batches

class Member {
  #flags
  #consumer
  #owned = []
  #batch = Promise.resolve() // the one that is being processed
  #isStopping = false
  #isHolding = false
  #go = () => {}
  failed = new Promise((_, reject) => (this.fail = reject))

  constructor(flags) {
    this.#flags = flags
    this.#consumer = kafkaAt(flags.bootstrap).consumer({
      groupId: flags.group,
      partitionAssigners: [this.#assigner],
      sessionTimeout: Number(flags['session-timeout-ms']),
      heartbeatInterval: Number(flags['heartbeat-interval-ms']),
      readUncommitted: flags.isolation !== 'read_committed',
      allowAutoTopicCreation: false,
      maxWaitTimeInMs: MAX_WAIT_MS,
      retry: PATIENT,
    })
  }

  // The library does not tell what it gives back. It asks its assigners for the metadata right before each JoinGroup,
  // and a member of the eager protocol that joins has given back everything.
  #assigner = (config) => {
    const assigner = kafkajs.PartitionAssigners.roundRobin(config)
    return { ...assigner, protocol: (subscription) => (this.#giveBack('revoked'), assigner.protocol(subscription)) }
  }

  #giveBack(name) {
    if (this.#owned.length > 0) {
      emit(name, this.#owned)
    }
    this.#owned = []
  }

  async start() {
    const { pattern, topic } = this.#flags
    const { GROUP_JOIN, CRASH } = this.#consumer.events
    this.#consumer.on(GROUP_JOIN, ({ payload }) => {
      if (!this.#isStopping) {
        this.#owned = Object.values(payload.memberAssignment).flat().sort((one, other) => one - other)
        emit('assigned', this.#owned)
      }
    })
    this.#consumer.on(CRASH, ({ payload }) => {
      this.#giveBack('lost')
      if (!payload.restart) {
        this.fail(payload.error)
      }
    })
    await this.#consumer.connect()
    const subscription = pattern === undefined ? topic : new RegExp(pattern)
    await this.#consumer.subscribe({ topics: [subscription], fromBeginning: true })
    await this.#consumer.run({
      autoCommit: false,
      eachBatchAutoResolve: false,
      eachBatch: (payload) => (this.#batch = this.#process(payload)),
    })
  }

  // A commit that is refused ends the batch: the library joins again and reads on from what is committed.
  async #process({ batch, resolveOffset, heartbeat, commitOffsetsIfNecessary, isRunning, isStale }) {
    const { topic, partition, messages } = batch
    const size = Number(this.#flags.batch)
    for (let start = 0; start < messages.length; start += size) {
      if (this.#isStopping || !isRunning() || isStale()) {
        return
      }
      const some = messages.slice(start, start + size)
      emit('records', some.map((one) => [partition, Number(one.offset), one.value.toString()]))
      await this.#hold(heartbeat)
      const last = some.at(-1).offset
      const next = Number(last) + 1
      try {
        await commitOffsetsIfNecessary({ topics: [{ topic, partitions: [{ partition, offset: String(next) }] }] })
      } catch (error) {
        emit('commit_failed', String(nameOf(error)))
        throw error
      }
      resolveOffset(last)
      emit('committed', { [partition]: next })
      await heartbeat()
    }
  }

  // If the test wants it. Who takes long with its records has to see to the heartbeats itself; what they are told of a
  // rebalance, the next one is told again.
  async #hold(heartbeat) {
    if (!this.#isHolding) {
      return
    }
    this.#isHolding = false
    const went = new Promise((resolve) => (this.#go = resolve))
    emit('holding', null)
    const beat = setInterval(() => heartbeat().catch(() => {}), Number(this.#flags['heartbeat-interval-ms']) / 2)
    await went
    clearInterval(beat)
  }

  command(line) {
    if (line === 'hold') {
      this.#isHolding = true
    } else {
      this.#go()
    }
  }

  // What is being processed is finished and committed; the partitions are given back before the group hears of it.
  async stop() {
    this.#isStopping = true
    this.#go()
    await this.#batch.catch(() => {})
    this.#giveBack('revoked')
    await this.#consumer.disconnect()
  }
}

export async function member(flags) {
  const one = new Member(flags)
  const input = lines()
  input.on('line', (line) => one.command(line))
  const ended = once(input, 'close')
  await Promise.race([one.start(), one.failed])
  await Promise.race([ended, one.failed])
  await one.stop()
}
