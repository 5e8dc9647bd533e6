// What an error of kafkajs is called: Kafka's code wherever one is in it, else the library's words.

const UNKNOWN_TO_KAFKAJS = /^Unknown error code (\d+)$/ // it knows codes up to 88 and gives others the code -99

function* within(error) {
  if (!error) {
    return
  }
  yield error
  for (const inner of [error.errors?.[0], error.groups?.[0]?.error, error.partitions?.[0]?.error, error.cause]) {
    yield* within(inner)
  }
}

export function nameOf(error) {
  for (const one of within(error)) {
    const unknown = UNKNOWN_TO_KAFKAJS.exec(one.message)
    if (unknown) {
      return Number(unknown[1])
    }
    if (typeof one.code === 'number') {
      return one.code
    }
  }
  return error.message
}
