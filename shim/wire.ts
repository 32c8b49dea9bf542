/** Request bodies: bytes from clients into JSON values. */
import { isUtf8 } from 'node:buffer'
import { MatrixError } from '../src/errors.ts'

/** Deeper JSON is refused: it is never meant well, and everything that walks it recurses. */
const deepest = 100
/** Commas and colons; a body of 1 MiB cannot have as many. A large one of nothing but small values would take the process a second. */
const mostSeparators = 600_000

/**
 * A request body. Tolerant: what JSON.parse takes, up to a depth and a number of values. Strict, for event content: also no fractions, exponents, integers beyond
 * ±(2^53 − 1) (https://spec.matrix.org/v1.19/appendices/#canonical-json) and no duplicate keys. `__proto__` is a key like any other.
 */
export function readJson(bytes: Buffer, strict: boolean): unknown {
  if (!isUtf8(bytes)) throw notJson()
  const text = bytes.toString('utf8')
  const keys = scan(text, strict)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw notJson()
  }
  // Every key has one colon; JSON.parse keeps one of two equal keys.
  if (strict && keys !== countKeys(value)) throw new MatrixError('M_BAD_JSON', 'An object has the same key twice')
  return value
}

function notJson(): MatrixError {
  return new MatrixError('M_NOT_JSON', 'The request body is not valid JSON')
}

const quote = 0x22
const backslash = 0x5c

/** One pass over what lies outside strings: checks depth, size and numbers, returns the number of colons. */
function scan(text: string, strict: boolean): number {
  let depth = 0
  let colons = 0
  let commas = 0
  for (let i = 0; i < text.length; i++) {
    const char = text.charCodeAt(i)
    if (char === quote) {
      i = endOfString(text, i)
      if (i < 0) throw notJson()
    } else if (char === 0x7b || char === 0x5b) {
      if (++depth > deepest) throw new MatrixError('M_BAD_JSON', 'The JSON is nested too deeply')
    } else if (char === 0x7d || char === 0x5d) {
      depth--
    } else if (char === 0x3a || char === 0x2c) {
      if (char === 0x3a) colons++
      else commas++
      if (colons + commas > mostSeparators) throw new MatrixError('M_BAD_JSON', 'The JSON has too many values')
    } else if (strict && (char === 0x2d || (char >= 0x30 && char <= 0x39))) {
      i = endOfNumber(text, i) - 1
    }
  }
  return colons
}

/** Index of the closing quote, or -1. */
function endOfString(text: string, start: number): number {
  let end = start
  for (;;) {
    end = text.indexOf('"', end + 1)
    if (end < 0) return -1
    let backslashes = 0
    while (text.charCodeAt(end - 1 - backslashes) === backslash) backslashes++
    if (backslashes % 2 === 0) return end
  }
}

/** Index after the number; refuses what canonical JSON does not know. */
function endOfNumber(text: string, start: number): number {
  let end = start + 1
  for (; end < text.length; end++) {
    const char = text.charCodeAt(end)
    if (char >= 0x30 && char <= 0x39) continue
    // . E e + -
    if (char === 0x2e || char === 0x45 || char === 0x65) throw new MatrixError('M_BAD_JSON', 'Events take whole numbers only')
    break
  }
  const number = end - start > 15 || text.charCodeAt(start) === 0x2d ? Number(text.slice(start, end)) : 0
  if (!Number.isSafeInteger(number)) throw new MatrixError('M_BAD_JSON', 'Events take numbers within ±(2^53 − 1) only')
  if (Object.is(number, -0)) throw new MatrixError('M_BAD_JSON', 'Events take no negative zero')
  return end
}

function countKeys(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0
  let count = 0
  if (Array.isArray(value)) {
    for (const item of value) count += countKeys(item)
    return count
  }
  for (const key in value) count += 1 + countKeys((value as Readonly<Record<string, unknown>>)[key])
  return count
}
