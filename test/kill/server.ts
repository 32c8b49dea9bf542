/**
 * The server of the kill test, a process of its own. Besides the usual settings: KILL_AT=point:ms:what ends it with SIGKILL at the first
 * commit of this kind that reaches the point (fault-points.ts) when it has listened for so long; LEASE_MS and LOCK_WAIT_MS shorten waits.
 * Prints one line of JSON when it listens.
 */
import { flushCompileCache } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'
import { pino } from 'pino'
import { readConfig } from '../../src/config.ts'
import { systemPorts } from '../../src/ports.ts'
import { openServer } from '../../src/server.ts'
import type { Batch } from '../../src/storage/fold.ts'
import type { Faults } from '../../src/storage/writer.ts'
import { type CommitOf, holds } from './fault-points.ts'

const { KILL_AT = '', LEASE_MS = '30000', LOCK_WAIT_MS = '10000', ...environment } = process.env
const [point = '', afterMs = '0', what = 'anything'] = KILL_AT.split(':')
let listeningSince = Number.POSITIVE_INFINITY

/** Nothing of the process is left behind this. What should not have been said yet has time to be heard: then it is missed later. */
async function reach(at: string, batch: Batch): Promise<void> {
  if (at !== point || performance.now() - listeningSince < Number(afterMs) || !holds(batch, what as CommitOf)) return
  await sleep(3)
  process.kill(process.pid, 'SIGKILL')
}

const faults: Faults = {
  beforeCommit: (batch) => reach('beforeCommit', batch),
  afterCommit: (batch) => reach('afterCommit', batch),
  afterPublish: (batch) => reach('afterPublish', batch),
}

const log = pino({ level: environment['LOG_LEVEL'] ?? 'error' }, pino.destination(2))
try {
  const server = await openServer({
    config: readConfig(environment),
    ports: systemPorts(log),
    storage: { leaseMs: Number(LEASE_MS), lockWaitMs: Number(LOCK_WAIT_MS) },
    faults,
    onFatal(error) {
      log.fatal(error)
      process.exit(70)
    },
  })
  listeningSince = performance.now()
  // For the next life: this one does not end in a way that leaves anything behind.
  flushCompileCache()
  process.stdout.write(`${JSON.stringify({ url: server.url, accounts: server.firstAccounts })}\n`)
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : error}\n`)
  process.exit(1)
}
