/** Rows of a process that nobody asks anything: how soon it is there, and what it holds. */
import type { Row } from './rows.ts'
import { startProcess } from './server-process.ts'

export const start: Row = {
  name: 'start to first answer',
  unit: 'ms',
  target: 600,
  higherIsBetter: false,
  async measure() {
    const server = await startProcess()
    await server.stop()
    return { value: server.startMs }
  },
}

export const idleMemory: Row = {
  name: 'memory of an idle process',
  unit: 'MB',
  target: 160,
  higherIsBetter: false,
  async measure() {
    const server = await startProcess()
    await new Promise((resolve) => setTimeout(resolve, 1_000))
    const value = server.memoryMb()
    await server.stop()
    return { value }
  },
}
