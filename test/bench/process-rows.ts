/** Rows of a process that nobody asks anything: how soon it is there, and what it holds. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Load } from './load.ts'
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

const homeservers = 200

export const idleInstance: Row = {
  name: 'memory of one more idle homeserver',
  unit: 'KB',
  target: 50,
  higherIsBetter: false,
  // The making of two hundred passwords takes its time.
  once: true,
  async measure() {
    const dataDir = mkdtempSync(join(tmpdir(), 'hungryserv-bench-'))
    try {
      const { owner, administrator, stop } = await startProcess({ dataDir })
      await stop()
      const open = () => startProcess({ dataDir, accounts: { owner, administrator } })
      /** Started anew, so that both have done the same: nothing but opened what there is. */
      const idle = async () => {
        const server = await open()
        await new Promise((resolve) => setTimeout(resolve, 2_000))
        const memoryMb = server.memoryMb()
        await server.stop()
        return memoryMb
      }
      const one = await idle()
      const server = await open()
      const load = new Load(server.url)
      const login = await load.request('POST', '/_matrix/client/v3/login', '', {
        type: 'm.login.password',
        identifier: { type: 'm.id.user', user: administrator.userId },
        password: administrator.password,
      })
      for (let i = 0; i < homeservers; i++) {
        const query = `mutation { createInstance(name: "home${i}", owner: "owner${i}") { password } }`
        await load.request('POST', '/graphql', login['access_token'] as string, { query })
      }
      await load.close()
      await server.stop()
      return { value: (((await idle()) - one) * 1_024) / homeservers }
    } finally {
      rmSync(dataDir, { recursive: true, force: true })
    }
  },
}
