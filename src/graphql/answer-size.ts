/**
 * How much stored JSON one document of a GraphQL client may bring: pages are bounded one by one, but a document may ask for many, and for the same
 * event under many names. The shim's own documents ask for one page each and are not counted: a room's whole state is its size.
 */
import { MatrixError } from '../errors.ts'
import type { Context } from './context.ts'

/** UTF-16 code units. */
const longestAnswer = 32_000_000
/** Of one document: what they hold is freed before the next are read. */
const pagesTogether = 4

interface Answer {
  length: number
  reading: number
  readonly waiting: (() => void)[]
}

const answers = new WeakMap<Context, Answer>()

/** Null for the shim's own documents. */
function answerOf(context: Context): Answer | null {
  if (!context.charge) return null
  let answer = answers.get(context)
  if (!answer) {
    answer = { length: 0, reading: 0, waiting: [] }
    answers.set(context, answer)
  }
  return answer
}

/** Counts JSON that goes into the answer. Errors: M_TOO_LARGE when it is too much with what was counted before. */
export function count(context: Context, json: string): string {
  const answer = answerOf(context)
  if (answer) {
    answer.length += json.length
    checkLength(answer)
  }
  return json
}

function checkLength(answer: Answer): void {
  if (answer.length > longestAnswer)
    throw new MatrixError('M_TOO_LARGE', 'The answer would be too large: ask for fewer events or keys at a time')
}

/** Reads a page when fewer than four are being read. Errors: M_TOO_LARGE when the answer is too large already. */
export async function readInTurn<T>(context: Context, read: () => Promise<T>): Promise<T> {
  const answer = answerOf(context)
  if (!answer) return read()
  if (answer.reading < pagesTogether) answer.reading++
  else await new Promise<void>((resolve) => answer.waiting.push(resolve))
  try {
    checkLength(answer)
    return await read()
  } finally {
    // The place is handed on, or given back.
    const next = answer.waiting.shift()
    if (next) next()
    else answer.reading--
  }
}
