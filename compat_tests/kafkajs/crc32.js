// CRC-32 of zlib, which Node has of its own only from version 22 on.

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte
  for (let bit = 0; bit < 8; bit++) {
    value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1
  }
  return value
})

export function crc32(bytes) {
  let value = 0xffffffff
  for (const byte of bytes) {
    value = (value >>> 8) ^ TABLE[(value ^ byte) & 0xff]
  }
  return (value ^ 0xffffffff) >>> 0
}
