/** Builds everything from the settings and starts it. */
import { mkdirSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { createApp } from '../shim/app.ts'
import { appserviceSinks } from '../shim/outbound/appservices.ts'
import { Outbound } from '../shim/outbound/http.ts'
import { allEndpoints } from '../shim/table.ts'
import { commandLineFile } from './commands.ts'
import { appserviceAlive, appserviceChanged, startDeliveries } from './appservices/delivery.ts'
import type { Config } from './config.ts'
import { schema } from './graphql/schema.ts'
import { InstanceHost } from './instances/host.ts'
import { commandLineToken, type FirstAccounts, firstStart } from './instances/first-start.ts'
import type { Ports } from './ports.ts'
import { openShard } from './storage/shard.ts'
import type { ShardOptions } from './storage/shard.ts'

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
  /** for the kill test */
  readonly faults?: ShardOptions['faults']
  /** nothing durable can be promised any more: the process must end */
  readonly onFatal?: (error: Error) => void
}

export async function openServer({ config, ports, faults, onFatal }: ServerOptions): Promise<Server> {
  mkdirSync(config.dataDir, { recursive: true })
  const shard = await openShard({
    name: 'main',
    url: config.databaseUrl,
    ports,
    autoCheckpoint: config.sqliteAutoCheckpoint,
    onFatal: onFatal ?? ((error) => ports.log.fatal(error, 'the disk did not keep its word')),
    ...(faults ? { faults } : {}),
  })
  const outbound = new Outbound()
  const sinks = appserviceSinks(outbound, { networks: config.appserviceNetworks })
  const host = new InstanceHost({
    config,
    ports,
    shards: [shard],
    services: {
      start: (instance) => startDeliveries(instance, sinks),
      upward: { appserviceChanged, appserviceAlive, jobAdded: () => undefined },
    },
  })
  try {
    const firstAccounts = await firstStart(host)
    const { fastify } = createApp({ host, schema, endpoints: allEndpoints })
    await fastify.listen({ host: config.host, port: config.port })
    const url = urlOf(fastify.server.address() as AddressInfo)
    writeFileSync(commandLineFile(config), JSON.stringify({ url, token: await commandLineToken(host) }), { mode: 0o600 })
    void host.resumeReclaiming()
    return {
      host,
      url,
      firstAccounts,
      async [Symbol.asyncDispose]() {
        // Long polls answer first, or the server would wait for them.
        for (const instance of host.openInstances()) instance.close()
        await fastify.close()
        await host[Symbol.asyncDispose]()
        await outbound[Symbol.asyncDispose]()
      },
    }
  } catch (error) {
    await host[Symbol.asyncDispose]()
    throw error
  }
}

/** As the command line on this machine reaches it. */
function urlOf({ address, port, family }: AddressInfo): string {
  if (address === '::' || address === '0.0.0.0') return `http://127.0.0.1:${port}`
  return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`
}
