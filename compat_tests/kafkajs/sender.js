// A producer: where its records went, and its transactions.
import { crc32 } from './crc32.js'
import kafkajs from 'kafkajs'
import { TYPES } from './codecs.js'
import { PATIENT } from './kafka.js'

const { DefaultPartitioner } = kafkajs.Partitioners

const byCrc32 = () => ({ message, partitionMetadata }) =>
  message.partition ?? crc32(message.key ?? Buffer.alloc(0)) % partitionMetadata.length

export class Sender {
  #producer
  #compression
  #chosen = new Map() // message -> partition: the library does not tell which message went where
  #transaction = null
  #ready = null // kafkajs asks for its producer id with the first transaction: that one waits for `begin`

  constructor(kafka, { compression, partitioner, idempotent, transactional_id: transactionalId }) {
    this.#compression = TYPES[compression ?? 'none']
    const isOnce = idempotent || transactionalId !== null
    this.#producer = kafka.producer({
      createPartitioner: () => this.#noting(partitioner === 'crc32' ? byCrc32() : DefaultPartitioner()),
      allowAutoTopicCreation: false,
      idempotent: isOnce,
      transactionalId: transactionalId ?? undefined,
      maxInFlightRequests: isOnce ? 1 : undefined,
      retry: isOnce ? { ...PATIENT, retries: Number.MAX_SAFE_INTEGER } : PATIENT,
    })
    this.isTransactional = transactionalId !== null
  }

  #noting(choose) {
    return (question) => {
      const partition = choose(question)
      this.#chosen.set(question.message, partition)
      return partition
    }
  }

  async open() {
    await this.#producer.connect()
    if (this.isTransactional) {
      this.#ready = await this.#producer.transaction()
    }
  }

  async send(topic, records) {
    const messages = records.map(messageOf)
    const through = this.#transaction ?? this.#producer
    try {
      const acknowledged = await through.send({ topic, messages, compression: this.#compression })
      const next = new Map(acknowledged.map((one) => [one.partition, Number(one.baseOffset)]))
      return messages.map((message) => {
        const partition = this.#chosen.get(message)
        const offset = next.get(partition)
        next.set(partition, offset + 1)
        return [partition, offset]
      })
    } finally {
      this.#chosen.clear()
    }
  }

  async begin() {
    this.#transaction = this.#ready ?? (await this.#producer.transaction())
    this.#ready = null
  }

  async commit() {
    await this.#transaction.commit()
    this.#transaction = null
  }

  async abort() {
    await this.#transaction.abort()
    this.#transaction = null
  }

  async sendOffsets(group, topic, offsets) {
    const partitions = Object.entries(offsets).map(([partition, offset]) => ({
      partition: Number(partition),
      offset: String(offset),
    }))
    await this.#transaction.sendOffsets({ consumerGroupId: group, topics: [{ topic, partitions }] })
  }

  async close() {
    await this.#producer.disconnect()
  }
}

function messageOf([value, key, headers, partition, timestampMs]) {
  const message = { value: bytes(value), key: bytes(key), headers: byName(headers) }
  if (partition !== null) {
    message.partition = partition
  }
  if (timestampMs !== null) {
    message.timestamp = String(timestampMs)
  }
  return message
}

// kafkajs has an object of headers: a name that comes twice has a list
function byName(headers) {
  const named = {}
  for (const [name, value] of headers) {
    ;(named[name] ??= []).push(bytes(value))
  }
  return named
}

function bytes(text) {
  return text === null ? null : Buffer.from(text, 'base64')
}
