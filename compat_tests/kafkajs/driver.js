// The kafkajs client as a process: node driver.js client|member --flag value ...
//
// It tells what happens as one JSON line an event on standard output and takes commands, a line each, on standard
// input; the end of the input is the request to stop cleanly. compat_tests/drivers.py lists modes, flags and commands.
import { parseArgs } from 'node:util'
import { nameOf } from './errors.js'
import { emit } from './events.js'
import { serve } from './client.js'
import { member } from './member.js'

const MODES = { client: serve, member }

const TEXTS = {
  bootstrap: undefined,
  group: undefined,
  topic: undefined,
  pattern: undefined,
  protocol: 'classic',
  assignor: 'roundrobin',
  'instance-id': undefined,
  isolation: 'read_uncommitted',
  batch: '50',
  'session-timeout-ms': '6000',
  'heartbeat-interval-ms': '500',
}

function usage(why) {
  process.stderr.write(`${why}\nusage: driver.js client|member --bootstrap HOST:PORT ...\n`)
  process.exit(2)
}

function flagsOf(words) {
  const options = {}
  for (const [name, value] of Object.entries(TEXTS)) {
    options[name] = { type: 'string', default: value }
  }
  try {
    return parseArgs({ args: words, options }).values
  } catch (error) {
    return usage(error.message)
  }
}

const [mode, ...words] = process.argv.slice(2)
if (!Object.hasOwn(MODES, mode ?? '')) {
  usage(`no mode ${mode}`)
}
const flags = flagsOf(words)
if (flags.protocol !== 'classic' || flags.assignor !== 'roundrobin' || flags['instance-id'] !== undefined) {
  usage('kafkajs has the classic protocol, its round robin assigner and dynamic members')
}
try {
  await MODES[mode](flags)
  process.exit(0)
} catch (error) {
  process.stderr.write(`${error.stack}\n`)
  emit('failed', nameOf(error))
  process.exit(3)
}
