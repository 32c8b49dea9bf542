/** What Prometheus reads at /metrics. */
import type { IncomingMessage } from 'node:http'
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import { checkpointCounts } from './appservices/checkpoints.ts'
import { queueLength, waitingSince } from './appservices/queue.ts'
import { bridgeStates, countStates } from './appservices/status.ts'
import type { InstanceHost } from './instances/host.ts'
import type { OpenInstance } from './instances/open-instance.ts'
import { compileNetworks } from './rules/networks.ts'

export interface Done {
  /** the endpoint's operationId; null where no endpoint took the request */
  readonly name: string | null
  readonly method: string
  readonly status: number
  readonly seconds: number
}

const loopback = compileNetworks(['127.0.0.0/8', '::1/128'])

/** Whether somebody on this machine asks: a proxy on it asks for others, and says so. */
export function asksFromHere({ socket, headers }: Pick<IncomingMessage, 'socket' | 'headers'>): boolean {
  return loopback(socket.remoteAddress ?? '') && headers['x-forwarded-for'] === undefined && headers['forwarded'] === undefined
}

export class Metrics {
  readonly registry = new Registry()
  private readonly requests: Histogram
  /** by endpoint and status: finding one by its labels costs more than counting */
  private readonly series = new Map<string, Histogram.Internal<'endpoint' | 'status'>>()
  private readonly host: InstanceHost

  constructor(host: InstanceHost) {
    this.host = host
    const registers = [this.registry]
    collectDefaultMetrics({ register: this.registry })
    this.requests = new Histogram({
      name: 'hungryserv_request_seconds',
      help: 'Time to answer, by endpoint and status. Long polls include their waiting.',
      labelNames: ['endpoint', 'status'],
      buckets: [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2, 10, 30],
      registers,
    })
    const shards = (): readonly { name: string; stats: ReturnType<InstanceHost['shards'][number]['stats']> }[] =>
      host.shards.map((shard) => ({ name: shard.name, stats: shard.stats() }))
    const count = (name: string, help: string, read: (stats: ReturnType<InstanceHost['shards'][number]['stats']>) => number): void => {
      new Counter({
        name,
        help,
        labelNames: ['shard'],
        registers,
        collect() {
          this.reset()
          for (const { name: shard, stats } of shards()) this.inc({ shard }, read(stats))
        },
      })
    }
    count('hungryserv_commits_total', 'Transactions committed by the writer.', (stats) => stats.batches)
    count('hungryserv_change_sets_total', 'Change sets committed.', (stats) => stats.changeSets)
    count('hungryserv_rows_total', 'Rows written.', (stats) => stats.rows)
    count('hungryserv_commit_seconds_total', 'Time spent in commits.', (stats) => stats.commitSeconds)
    new Gauge({
      name: 'hungryserv_queued_change_sets',
      help: 'Change sets that wait for the writer.',
      labelNames: ['shard'],
      registers,
      collect() {
        for (const { name: shard, stats } of shards()) this.set({ shard }, stats.queued)
      },
    })
    new Gauge({
      name: 'hungryserv_open_instances',
      help: 'Instances open in this process.',
      registers,
      collect() {
        this.set(host.openInstances().size)
      },
    })
    this.addAppservices(registers)
  }

  observe({ name, status, seconds }: Done): void {
    const key = `${name} ${status}`
    let series = this.series.get(key)
    if (!series) {
      series = this.requests.labels({ endpoint: name ?? 'none', status: String(status) })
      this.series.set(key, series)
    }
    series.observe(seconds)
  }

  private addAppservices(registers: Registry[]): void {
    const { host } = this
    this.addOfBridges('hungryserv_appservice_queued_events', 'Events that wait for a bridge.', async (instance, row) => [
      [{}, await queueLength(instance, row)],
    ])
    this.addOfBridges(
      'hungryserv_appservice_oldest_undelivered_seconds',
      'How long the oldest of what a bridge has not taken has waited, by the clock of the homeserver; 0 when there is none.',
      async (instance, row) => {
        const since = await waitingSince(instance, row)
        return [[{}, since === null ? 0 : Math.max(0, instance.ports.now() - since) / 1_000]]
      },
    )
    this.addOfBridges('hungryserv_bridge_states', 'The bridge itself and its logins, by their newest state.', async (instance, row) =>
      [...countStates(await bridgeStates(instance, row.key))].map(([state, count]) => [{ state }, count]),
    )
    new Counter({
      name: 'hungryserv_message_checkpoints_total',
      help: 'Steps of messages on their way to remote networks, as bridges reported them.',
      labelNames: ['instance', 'step', 'status'],
      registers,
      collect() {
        this.reset()
        for (const instance of host.openInstances())
          for (const { count, ...outcome } of checkpointCounts(instance)) this.inc({ instance: instance.name, ...outcome }, count)
      },
    })
  }

  /** A value of each bridge, or several with further labels. */
  private addOfBridges(
    name: string,
    help: string,
    read: (instance: OpenInstance, row: Parameters<typeof waitingSince>[1]) => Promise<[{ readonly state?: string }, number][]>,
  ): void {
    const { host, registry } = this
    new Gauge({
      name,
      help,
      labelNames: ['instance', 'appservice', 'state'],
      registers: [registry],
      async collect() {
        const values: [Record<string, string>, number][] = []
        for (const instance of host.openInstances())
          for (const row of await instance.storage.find('appservice', { where: {} }))
            for (const [labels, value] of await read(instance, row))
              values.push([{ instance: instance.name, appservice: row.id, ...labels }, value])
        this.reset()
        for (const [labels, value] of values) this.set(labels, value)
      },
    })
  }
}
