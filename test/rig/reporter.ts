/** What one test file says to test/rig/run.ts: a JSON line per finished test. */
import type { TestEvent } from 'node:test/reporters'

export interface TestResult {
  name: string
  result: 'passed' | 'failed' | 'skipped'
  reason?: string
}

export default async function* report(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  const path: string[] = []
  for await (const { type, data } of events) {
    if (type === 'test:start') path.splice(data.nesting, path.length, data.name)
    // What a test throws after its end reaches nobody else.
    if (type === 'test:diagnostic' && data.message.includes('asynchronous activity'))
      yield line({ name: '(the file)', result: 'failed', reason: data.message })
    if (type !== 'test:pass' && type !== 'test:fail') continue
    path.splice(data.nesting, path.length, data.name)
    const name = path.join(' > ')
    if (data.skip !== undefined || data.todo !== undefined) {
      yield line({ name, result: 'skipped', reason: String(data.skip || data.todo || '') })
    } else if (type === 'test:fail') {
      const error = data.details.error as Error & { failureType?: string }
      // A parent fails with its children; they are counted already.
      if (error.failureType === 'subtestsFailed') continue
      const cause = error.cause instanceof Error ? (error.cause.stack ?? error.cause.message) : String(error.cause ?? error.message)
      yield line({ name, result: 'failed', reason: cause })
    } else if (data.details.type !== 'suite') {
      yield line({ name, result: 'passed' })
    }
  }
}

function line(result: TestResult): string {
  return `${JSON.stringify(result)}\n`
}
