// How every part of the driver reaches the broker: retries for as long as a broker may be away, the log to stderr.
import kafkajs from 'kafkajs'
import { setUpCodecs } from './codecs.js'

export const PATIENT = { initialRetryTime: 100, maxRetryTime: 500, retries: 240 } // two minutes

const LEVELS = kafkajs.logLevel
const LEVEL = LEVELS[(process.env.OTTLA_COMPAT_KAFKAJS_LOG ?? 'error').toUpperCase()]

process.env.KAFKAJS_NO_PARTITIONER_WARNING = '1'
setUpCodecs()

export function kafkaAt(bootstrap) {
  return new kafkajs.Kafka({
    clientId: 'ottla-compat',
    brokers: [bootstrap],
    retry: PATIENT,
    connectionTimeout: 10_000,
    logLevel: LEVEL,
    logCreator: () => ({ namespace, label, log }) => {
      process.stderr.write(`${label} [${namespace}] ${JSON.stringify(log)}\n`) // standard output is for events
    },
  })
}
