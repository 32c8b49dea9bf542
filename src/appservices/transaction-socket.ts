/** Transactions and requests over one websocket: what is unanswered, for how long, and when it is given up. */
import { MatrixError } from '../errors.ts'
import type { Ports } from '../ports.ts'
import type { JsonObject } from '../rules/values.ts'
import type { Outcome, Transaction } from './sinks.ts'
import type { Answer, Connection } from './sockets.ts'

/** A bridge that handles a lot answers late: slow is not dead. */
const firstAnswerMs = 5_000
const laterAnswerMs = 30_000
/** Then the connection is closed, for the bridge to begin anew. */
const mostTimeouts = 7

/** The transaction that was sent last over this connection, unless an error was the answer. */
interface Outstanding {
  readonly txnId: string
  readonly answer: Promise<Answer>
  readonly resolve: (answer: Answer) => void
  answered: boolean
}

export class TransactionSocket {
  readonly connection: Connection
  /** the bridge had the time to load its logins */
  settled = false
  private readonly ports: Ports
  private outstanding: Outstanding | null = null
  /** since the last answer */
  private timeouts = 0

  constructor(connection: Connection, ports: Ports) {
    this.connection = connection
    this.ports = ports
  }

  /**
   * Sends it and waits, 5 s and then 30 s at a time. A bridge of version 3 is sent it again after each time; the others are not, over this
   * connection, for they would handle it twice: what was sent arrives as long as the connection lives. After seven times in vain it is closed.
   * An acknowledgement that comes when nobody waits any more (the bridge was paused) counts at the next attempt.
   */
  async deliver(transaction: Transaction, signal: AbortSignal, onTimeout: (error: string) => void): Promise<Outcome> {
    for (;;) {
      const sent = this.send(transaction)
      const waitMs = this.timeouts === 0 ? firstAnswerMs : laterAnswerMs
      const answer = await this.within(waitMs, signal, sent.answer)
      if (answer === 'gone') return { ok: false, why: 'connection', error: 'the websocket was closed before the answer' }
      if (answer !== 'late') {
        this.timeouts = 0
        // Should the commit of its acknowledgement fail, it counts at the next attempt.
        if (!answer.ok) this.outstanding = null
        return answer.ok ? { ok: true } : { ok: false, why: 'status', error: `answered ${answer.code}: ${answer.message}` }
      }
      this.timeouts++
      const error = `no answer within ${waitMs / 1_000} s`
      if (this.timeouts === mostTimeouts) {
        this.connection.close('notAcknowledged')
        return { ok: false, why: 'timeout', error }
      }
      onTimeout(error)
    }
  }

  async request(command: string, data: JsonObject, timeoutMs: number, signal?: AbortSignal): Promise<Answer> {
    const end = new AbortController()
    try {
      const asked = this.connection.request(command, data, end.signal)
      const answer = await this.within(timeoutMs, signal ?? null, asked)
      if (answer === 'late') throw new MatrixError('M_CONNECTION_TIMEOUT', `The bridge did not answer within ${timeoutMs / 1_000} s`)
      if (answer === 'gone') throw new MatrixError('FI.MAU.WS_NOT_CONNECTED', 'The websocket of the bridge was closed before it answered')
      return answer
    } finally {
      end.abort()
    }
  }

  private send(transaction: Transaction): Outstanding {
    let sent = this.outstanding?.txnId === transaction.txnId ? this.outstanding : null
    if (sent && (sent.answered || this.connection.version < 3)) return sent
    if (!sent) {
      const { promise, resolve } = Promise.withResolvers<Answer>()
      sent = { txnId: transaction.txnId, answer: promise, resolve, answered: false }
      this.outstanding = sent
    }
    const attempt = sent
    void this.connection.transaction(transaction).then((answer) => {
      attempt.answered = true
      attempt.resolve(answer)
    })
    return sent
  }

  /** The answer; `gone` also when the signal aborts. */
  private within(ms: number, signal: AbortSignal | null, answer: Promise<Answer>): Promise<Answer | 'late' | 'gone'> {
    const { gone } = this.connection
    const { promise, resolve, reject } = Promise.withResolvers<Answer | 'late' | 'gone'>()
    const leave = () => resolve('gone')
    if (gone.aborted || signal?.aborted) leave()
    gone.addEventListener('abort', leave)
    signal?.addEventListener('abort', leave)
    const cancel = this.ports.timer(ms, () => resolve('late'))
    answer.then(resolve, reject)
    return promise.finally(() => {
      cancel()
      gone.removeEventListener('abort', leave)
      signal?.removeEventListener('abort', leave)
    })
  }
}
