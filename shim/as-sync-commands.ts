/** What bridges say by themselves, done one after the other in the order in which it came. */
import { MatrixError } from '../src/errors.ts'
import type { Ports } from '../src/ports.ts'
import { isObject, type JsonObject } from '../src/rules/values.ts'
import { errorFrame, type Frame, responseFrame } from './as-sync-frames.ts'

/** Commands read and not done yet; then reading rests. */
const mostCommands = 16
/** A command that a failing commit refused is tried again, as bridges do over HTTP. */
const mostTries = 5
const againMs = 1_000

/** What a command does; its result is the `data` of the response. */
export type Commands = Readonly<Record<string, (data: JsonObject) => Promise<JsonObject>>>

export class CommandQueue {
  private readonly commands: Commands
  private readonly ports: Ports
  private readonly answer: (text: string) => void
  private readonly onDone: () => void
  private readonly waiting: Frame[] = []
  private working = false
  private ended = false

  /** `answer` takes the frames that answer; `onDone` is called after each command. */
  constructor(commands: Commands, ports: Ports, answer: (text: string) => void, onDone: () => void) {
    this.commands = commands
    this.ports = ports
    this.answer = answer
    this.onDone = onDone
  }

  get isFull(): boolean {
    return this.waiting.length >= mostCommands
  }

  add(frame: Frame): void {
    this.waiting.push(frame)
    if (!this.working) void this.work()
  }

  /** The connection is gone: what it said is still done, but not tried again, for the bridge may say other things over the next one. */
  end(): void {
    this.ended = true
  }

  private async work(): Promise<void> {
    this.working = true
    for (let frame = this.waiting.shift(); frame; frame = this.waiting.shift()) {
      await this.perform(frame)
      this.onDone()
    }
    this.working = false
  }

  private async perform({ id, command, data }: Frame): Promise<void> {
    try {
      const run = Object.hasOwn(this.commands, command) ? this.commands[command] : undefined
      if (!run) throw new UnknownCommand(command)
      if (!isObject(data)) throw new MatrixError('M_BAD_JSON', 'data must be an object')
      const result = await this.persist(() => run(data))
      if (id !== null) this.answer(responseFrame(id, result))
    } catch (error) {
      const { code, message } = tell(error)
      // A connection that closed meanwhile is M_UNKNOWN too, and no error of ours.
      const expected = error instanceof MatrixError || error instanceof UnknownCommand
      this.ports.log[expected ? 'debug' : 'error']({ err: error, command }, 'a command of a bridge failed')
      if (id !== null) this.answer(errorFrame(id, code, message))
    }
  }

  private async persist<T>(run: () => Promise<T>): Promise<T> {
    for (let tries = 1; ; tries++) {
      try {
        return await run()
      } catch (error) {
        const passes = error instanceof MatrixError && error.status === 503
        if (!passes || tries === mostTries || this.ended) throw error
        await new Promise<void>((resolve) => this.ports.timer(againMs, resolve))
      }
    }
  }
}

class UnknownCommand extends Error {
  constructor(command: string) {
    super(`There is no command ${command.slice(0, 100)}`)
  }
}

function tell(error: unknown): { code: string; message: string } {
  if (error instanceof UnknownCommand) return { code: 'UnknownCommand', message: error.message }
  if (error instanceof MatrixError) return { code: error.errcode, message: error.message }
  return { code: 'M_UNKNOWN', message: 'Internal server error' }
}
