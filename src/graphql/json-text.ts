/** JSON that is passed through as text, and the writing of answers that hold some. */
import { MatrixError } from '../errors.ts'

/** A stored event, or a large answer in pieces. */
export class JsonText {
  readonly chunks: readonly string[] | AsyncIterable<string>

  constructor(text: string | readonly string[] | AsyncIterable<string>) {
    this.chunks = typeof text === 'string' ? [text] : text
  }

  /** For writers that know nothing of it. Text that is still being made must be settled first. */
  toJSON(): unknown {
    if (!Array.isArray(this.chunks)) throw new Error('text that arrives in pieces was written as a value')
    return JSON.parse(this.chunks.join(''))
  }
}

/** A piece of an answer: text, or text that is still being made. */
export type Piece = string | AsyncIterable<string>

/** The text of an answer, with the stored JSON in it passed through. One string when all of it is there. */
export function writeJson(value: unknown): string | Piece[] {
  if (!(value instanceof JsonText)) {
    const plain = writePlain(value)
    if (plain !== null) return plain
  }
  const pieces: Piece[] = []
  write(value, pieces)
  return pieces.every((piece) => typeof piece === 'string') ? pieces.join('') : pieces
}

/** Most answers are a flat object of strings and numbers: JSON.stringify alone is quickest. */
function writePlain(value: unknown): string | null {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  if (Array.isArray(value)) return null
  for (const key in value) {
    const property = (value as Readonly<Record<string, unknown>>)[key]
    if (typeof property === 'object' && property !== null) return null
  }
  return JSON.stringify(value)
}

function write(value: unknown, pieces: Piece[]): void {
  if (typeof value !== 'object' || value === null) {
    pieces.push(JSON.stringify(value ?? null))
  } else if (value instanceof JsonText) {
    if (Array.isArray(value.chunks)) pieces.push(...value.chunks)
    else pieces.push(value.chunks as AsyncIterable<string>)
  } else if (Array.isArray(value)) {
    pieces.push('[')
    value.forEach((item, index) => {
      if (index > 0) pieces.push(',')
      write(item, pieces)
    })
    pieces.push(']')
  } else {
    pieces.push('{')
    let first = true
    for (const [key, property] of Object.entries(value)) {
      if (property === undefined) continue
      pieces.push(`${first ? '' : ','}${JSON.stringify(key)}:`)
      first = false
      write(property, pieces)
    }
    pieces.push('}')
  }
}

/** Bytes gathered before they go to the socket. */
const chunkLength = 65_536

/** The pieces in order, gathered into chunks worth a write; the socket's back-pressure holds the generators back. */
export async function* flow(pieces: readonly Piece[]): AsyncGenerator<string, void> {
  let gathered = ''
  for (const piece of pieces) {
    if (typeof piece === 'string') {
      gathered += piece
      if (gathered.length < chunkLength) continue
      yield gathered
      gathered = ''
      continue
    }
    for await (const chunk of piece) {
      gathered += chunk
      if (gathered.length < chunkLength) continue
      yield gathered
      gathered = ''
    }
  }
  if (gathered) yield gathered
}

/** Of text that is made for an answer that is held whole, in UTF-16 code units. */
const mostSettled = 64_000_000

/** The same value with no text still being made in it; the value itself when there was none. Errors: M_TOO_LARGE. */
export async function settle(value: unknown, settled = { length: 0 }): Promise<unknown> {
  if (typeof value !== 'object' || value === null) return value
  if (value instanceof JsonText) {
    if (Array.isArray(value.chunks)) return value
    const chunks: string[] = []
    for await (const chunk of value.chunks) {
      settled.length += chunk.length
      if (settled.length > mostSettled) throw new MatrixError('M_TOO_LARGE', 'The answer is too large: ask for less at once')
      chunks.push(chunk)
    }
    return new JsonText(chunks)
  }
  if (!holdsUnsettled(value)) return value
  if (Array.isArray(value)) return Promise.all(value.map((item) => settle(item, settled)))
  return Object.fromEntries(await Promise.all(Object.entries(value).map(async ([key, property]) => [key, await settle(property, settled)])))
}

function holdsUnsettled(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  if (value instanceof JsonText) return !Array.isArray(value.chunks)
  return Object.values(value).some(holdsUnsettled)
}
