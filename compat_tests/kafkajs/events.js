// Both ends of the talk with the test: events out as [monotonic seconds, name, value], lines in.
import { createInterface } from 'node:readline'

// hrtime is the clock that Python's time.monotonic reads
export function emit(name, value) {
  process.stdout.write(`${JSON.stringify([Number(process.hrtime.bigint()) / 1e9, name, value])}\n`)
}

// The lines of standard input, until its end.
export function lines() {
  return createInterface({ input: process.stdin, terminal: false })
}
