/** Builds everything from the settings and starts it. */
import { mkdirSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'
import { createApp } from '../shim/app.ts'
import { unrecognized } from '../shim/errors.ts'
import { appserviceSinks } from '../shim/outbound/appservices.ts'
import { Outbound } from '../shim/outbound/http.ts'
import { allEndpoints } from '../shim/table.ts'
import { appserviceAlive, appserviceChanged, startDeliveries } from './appservices/delivery.ts'
import { watchReach } from './appservices/reach.ts'
import { commandLineFile } from './commands/ask.ts'
import type { Config } from './config.ts'
import { MatrixError, unavailable } from './errors.ts'
import { mountGraphql } from './graphql/http.ts'
import { schema } from './graphql/schema.ts'
import { commandLineToken, type FirstAccounts, firstStart } from './instances/first-start.ts'
import { InstanceHost } from './instances/host.ts'
import { removeUnfinishedUploads } from './media/blobs.ts'
import { asksFromHere, Metrics } from './metrics.ts'
import type { Ports } from './ports.ts'
import type { ShardOptions } from './storage/shard.ts'
import { openShard } from './storage/shard.ts'

/** Requests have this long to end when the server stops, and a moment more to be told that they did not. */
const closeMs = 10_500

export interface Server extends AsyncDisposable {
  readonly host: InstanceHost
  /** http://address:port */
  readonly url: string
  /** the accounts made by the first start of this data folder, with their passwords; null later */
  readonly firstAccounts: FirstAccounts | null
}

export interface ServerOptions {
  readonly config: Config
  readonly ports: Ports
  /** what tests shorten, and where they let it fail */
  readonly storage?: Pick<ShardOptions, 'lockWaitMs' | 'leaseMs'>
  readonly faults?: ShardOptions['faults']
  /** nothing durable can be promised any more: the process must end */
  readonly onFatal?: (error: Error) => void
  /** called as soon as the first accounts are durable: whatever fails after it, their passwords are known */
  readonly onFirstAccounts?: (accounts: FirstAccounts) => void
}

export async function openServer({ config, ports, storage, faults, onFatal, onFirstAccounts }: ServerOptions): Promise<Server> {
  mkdirSync(config.dataDir, { recursive: true, mode: 0o700 })
  const shard = await openShard({
    name: 'main',
    url: config.databaseUrl,
    ports,
    autoCheckpoint: config.sqliteAutoCheckpoint,
    timeoutMs: config.databaseTimeoutMs,
    onFatal: onFatal ?? ((error) => ports.log.fatal(error, 'the disk did not keep its word')),
    ...storage,
    ...(faults ? { faults } : {}),
  })
  const outbound = new Outbound()
  const sinks = appserviceSinks(outbound, { networks: config.appserviceNetworks })
  const host = new InstanceHost({
    config,
    ports,
    shards: [shard],
    services: {
      start(instance) {
        removeUnfinishedUploads(instance).catch((error: unknown) => instance.ports.log.warn({ err: error }, 'unfinished uploads are left'))
        startDeliveries(instance, sinks)
        watchReach(instance)
      },
      upward: { appserviceChanged, appserviceAlive },
    },
  })
  try {
    const firstAccounts = await firstStart(host)
    if (firstAccounts) onFirstAccounts?.(firstAccounts)
    const metrics = new Metrics(host)
    const app = createApp({ host, schema, endpoints: allEndpoints, onDone: (done) => metrics.observe(done) })
    const { fastify } = app
    mountGraphql(app, { host, schema })
    addOperations(fastify, host, metrics)
    await fastify.listen({ host: config.host, port: config.port })
    const url = urlOf(fastify.server.address() as AddressInfo)
    await leaveAddress(host, url)
    host.resumeReclaiming().catch((error: unknown) => ports.log.error({ err: error }, 'space of deleted instances was not reclaimed'))
    return {
      host,
      url,
      firstAccounts,
      async [Symbol.asyncDispose]() {
        // What only waits ends first, or the server would wait for it. What is being decided comes to its end.
        for (const instance of host.openInstances()) instance.leave()
        await drained(fastify, ports)
        for (const { name } of [...host.openInstances()]) {
          await host
            .closeInstance(name)
            .catch((error: unknown) => ports.log.warn({ err: error, instance: name }, 'was not closed in order'))
        }
        await host[Symbol.asyncDispose]()
        await outbound[Symbol.asyncDispose]()
      },
    }
  } catch (error) {
    await host[Symbol.asyncDispose]()
    throw error
  }
}

/** For those who keep it running; not under /_matrix, so that a proxy need not show them. */
function addOperations(fastify: FastifyInstance, host: InstanceHost, metrics: Metrics): void {
  fastify.get('/health', async () => ({ status: 'ok' }))
  // Ready: the database answers and takes commits, and the default instance is ours.
  fastify.get('/ready', async () => {
    const instance = await host.defaultInstance()
    await instance.shard.lookup('instance', { where: { key: instance.key }, limit: 1 }).catch((error: unknown) => {
      host.ports.log.warn({ err: error }, 'not ready')
      throw unavailable('The database does not answer')
    })
    await instance.shard.flushed(instance.key)
    if (!host.openInstances().has(instance)) throw unavailable('This homeserver is being opened again')
    return { status: 'ready' }
  })
  if (host.config.metrics === 'off') return
  fastify.get('/metrics', async (request, reply) => {
    // They name instances and bridges.
    if (host.config.metrics === 'local' && !asksFromHere(request.raw)) throw unrecognized()
    reply.header('content-type', metrics.registry.contentType)
    return metrics.registry.metrics()
  })
}

/** Requests under way are answered; one that hangs keeps nobody from closing. */
async function drained(fastify: FastifyInstance, ports: Ports): Promise<void> {
  const late = Promise.withResolvers<void>()
  const cancel = ports.timer(closeMs, () => {
    ports.log.warn('requests under way were given up')
    late.resolve()
  })
  await Promise.race([fastify.close(), late.promise]).finally(cancel)
}

/** For the command line on this machine. Until the default instance can be had, it says itself that nobody answers. */
async function leaveAddress(host: InstanceHost, url: string): Promise<void> {
  try {
    writeFileSync(commandLineFile(host.config), JSON.stringify({ url, token: await commandLineToken(host) }), { mode: 0o600 })
  } catch (error) {
    if (!(error instanceof MatrixError) || error.status !== 503) throw error
    host.ports.timer(
      1_000,
      () => void leaveAddress(host, url).catch((again: unknown) => host.ports.log.error({ err: again }, 'the command line was not told')),
    )
  }
}

/** As the command line on this machine reaches it. */
function urlOf({ address, port, family }: AddressInfo): string {
  if (address === '::' || address === '0.0.0.0') return `http://127.0.0.1:${port}`
  return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`
}
