// Mode client: one command a line, each answered by one event, done or error.
import kafkajs from 'kafkajs'
import { createRequire } from 'node:module'
import { nameOf } from './errors.js'
import { emit, lines } from './events.js'
import { kafkaAt } from './kafka.js'
import { Reader } from './reader.js'
import { Sender } from './sender.js'

const { version } = createRequire(import.meta.url)('kafkajs/package.json')
const TOPIC = kafkajs.ConfigResourceTypes.TOPIC
const OF_THE_TOPIC = kafkajs.ConfigSource.TOPIC_CONFIG

class Refused extends Error {}

class Serving {
  #kafka
  #admin
  #handles = new Map()
  #number = 0

  constructor(bootstrap) {
    this.#kafka = kafkaAt(bootstrap)
    this.#admin = this.#kafka.admin()
  }

  async open() {
    await this.#admin.connect()
  }

  async close() {
    for (const handle of this.#handles.values()) {
      await handle.close()
    }
    await this.#admin.disconnect()
  }

  // ---- what is opened and closed

  async #opened(one) {
    await one.open()
    this.#handles.set(++this.#number, one)
    return this.#number
  }

  #of({ handle }) {
    return this.#handles.get(handle)
  }

  commands = {
    version: () => version,
    sender: (options) => this.#opened(new Sender(this.#kafka, options)),
    reader: (options) => this.#opened(new Reader(this.#kafka, this.#admin, options)),
    close: async (values) => {
      const one = this.#of(values)
      this.#handles.delete(values.handle)
      await one.close()
    },

    send: (values) => this.#of(values).send(values.topic, values.records),
    begin: (values) => this.#of(values).begin(),
    commit: (values) => this.#of(values).commit(),
    abort: (values) => this.#of(values).abort(),
    send_offsets: (values) => this.#of(values).sendOffsets(values.group, values.topic, values.offsets),

    seek_beginning: (values) => this.#of(values).seekBeginning(),
    seek_end: (values) => this.#of(values).seekEnd(),
    seek: (values) => this.#of(values).seek(values.offsets),
    seek_time: (values) => this.#of(values).seekTime(values.timestamp_ms),
    pause: (values) => this.#of(values).pause(values.partitions),
    resume: (values) => this.#of(values).resume(values.partitions),
    take: (values) => this.#of(values).take(values.count),

    create_topic: (values) => this.#createTopic(values),
    topics: () => this.#topics(),
    add_partitions: ({ topic, total }) => this.#admin.createPartitions({ topicPartitions: [{ topic, count: total }] }),
    delete_topic: ({ topic }) => this.#admin.deleteTopics({ topics: [topic] }),
    delete_records: (values) => this.#deleteRecords(values),
    config: async ({ topic }) => named(await this.#configs(topic)),
    set_config: (values) => this.#setConfig(values),
    ends: (values) => this.#ends(values),
    committed: (values) => this.#committed(values),
    groups: async () => (await this.#admin.listGroups()).groups.map((one) => one.groupId),
    group: ({ group }) => this.#group(group),
    delete_group: ({ group }) => this.#admin.deleteGroups([group]),
  }

  // ---- the calls of the library's admin client that need some words around them

  async #createTopic({ topic, partitions, configs }) {
    const configEntries = Object.entries(configs).map(([name, value]) => ({ name, value }))
    const topics = [{ topic, numPartitions: partitions, replicationFactor: 1, configEntries }]
    if (!(await this.#admin.createTopics({ topics }))) {
      throw new Refused('TOPIC_ALREADY_EXISTS') // the one refusal that kafkajs tells by false
    }
  }

  async #topics() {
    const { topics } = await this.#admin.fetchTopicMetadata()
    return Object.fromEntries(topics.map((one) => [one.name, one.partitions.length]))
  }

  // kafkajs looks for the leaders before it asks for them: fetchTopicOffsets makes it know the topic
  async #deleteRecords({ topic, before }) {
    await this.#admin.fetchTopicOffsets(topic)
    const partitions = Object.entries(before).map(([partition, offset]) => ({
      partition: Number(partition),
      offset: String(offset),
    }))
    await this.#admin.deleteTopicRecords({ topic, partitions })
  }

  async #configs(topic) {
    const { resources } = await this.#admin.describeConfigs({ resources: [{ type: TOPIC, name: topic }] })
    return resources[0].configEntries
  }

  // AlterConfigs sets what it names and resets what it does not: the topic's other own values go along
  async #setConfig({ topic, name, value }) {
    const own = (await this.#configs(topic)).filter((one) => one.configSource === OF_THE_TOPIC)
    const configEntries = Object.entries({ ...named(own), [name]: value }).map(([n, v]) => ({ name: n, value: v }))
    await this.#admin.alterConfigs({ resources: [{ type: TOPIC, name: topic, configEntries }] })
  }

  async #ends({ topic, partitions }) {
    const offsets = await this.#admin.fetchTopicOffsets(topic)
    const asked = offsets.filter((one) => partitions.includes(one.partition))
    return Object.fromEntries(asked.map((one) => [one.partition, Number(one.high)]))
  }

  async #committed({ group, topic, partitions }) {
    const [answer] = await this.#admin.fetchOffsets({ groupId: group, topics: [topic] })
    const asked = answer.partitions.filter((one) => partitions.includes(one.partition))
    return Object.fromEntries(asked.map((one) => [one.partition, one.offset === '-1' ? null : Number(one.offset)]))
  }

  async #group(group) {
    const { groups } = await this.#admin.describeGroups([group])
    return [groups[0].state, groups[0].members.length]
  }
}

function named(entries) {
  return Object.fromEntries(entries.map((one) => [one.configName, one.configValue]))
}

export async function serve({ bootstrap }) {
  const serving = new Serving(bootstrap)
  await serving.open()
  for await (const line of lines()) {
    const { do: name, ...values } = JSON.parse(line)
    try {
      const value = await serving.commands[name](values)
      emit('done', value ?? null)
    } catch (error) {
      process.stderr.write(`${name}: ${error.stack}\n`)
      emit('error', nameOf(error))
    }
  }
  await serving.close()
}
