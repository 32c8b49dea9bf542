/** Three instances in one database, all of them under load, and what must hold of them afterwards. */
import assert from 'node:assert/strict'
import { readConfig } from '../../src/config.ts'
import { InstanceHost } from '../../src/instances/host.ts'
import type { OpenInstance } from '../../src/instances/open-instance.ts'
import type { Faults } from '../../src/storage/writer.ts'
import { type Place, quietPorts } from '../storage/engines.ts'
import type { Chance } from './chance.ts'
import { DeviceLoad } from './device-load.ts'
import { Load, resend } from './load.ts'
import { checkMemory, rememberLoads } from './memory-check.ts'

const leastMs = 2_000
/** Of the devices, which have less to do. */
const leastDevicesMs = 1_000
const mostMs = 20_000
/** sends, or what devices do, that must have been answered in each instance */
const fewest = 40
/** Repeated at the end, of each instance: the last ones, in whose time the most failed. */
const repeated = 300

/** By the name of the instance. */
export interface Loads {
  readonly loads: ReadonlyMap<string, Load>
  readonly devices: ReadonlyMap<string, DeviceLoad>
  /** ends them when one of them has failed */
  readonly failed: AbortController
}

/** Named first, second and third; their keys are 1, 2 and 3. */
export async function openInstances(place: Place, chance: Chance, faults: Faults, givesUp: boolean) {
  const ports = quietPorts()
  const shard = await place.open({ faults })
  const upward = { appserviceChanged: () => undefined, appserviceAlive: () => undefined }
  const config = readConfig({ USER_DOMAIN: 'example.com' })
  const positions = new Map<string, number>()
  const watch = (instance: OpenInstance): void => {
    rememberLoads(instance)
    instance.bus.onAny(({ position }) => {
      assert.ok(position > (positions.get(instance.name) ?? 0), `${instance.name}: ${position} after ${positions.get(instance.name)}`)
      positions.set(instance.name, position)
    })
  }
  const host = new InstanceHost({ config, ports, shards: [shard], services: { start: watch, upward } })
  const failed = new AbortController()
  const loads = new Map<string, Load>()
  const devices = new Map<string, DeviceLoad>()
  for (const name of ['first', 'second', 'third']) {
    await host.create({ name, owner: `@${name}:example.com`, userDomain: 'example.com', bridgeDomain: 'example.com' })
    const options = { instance: () => host.instance(name), chance, givesUp, signal: failed.signal }
    const load = new Load(options)
    await load.prepare(6)
    loads.set(name, load)
    const ofDevices = new DeviceLoad(options)
    await ofDevices.prepare()
    devices.set(name, ofDevices)
  }
  return { host, loads, devices, failed }
}

/** Until enough has failed. */
export async function runAll({ loads, devices, failed }: Loads, isEnough: () => boolean): Promise<void> {
  await run(loads, failed, leastMs, isEnough)
  // Not beside them: each failure drops what an instance knows, and who needs little of it would keep the others from ever having enough.
  await run(devices, failed, leastDevicesMs, () => true)
}

interface Runs {
  readonly answered: number
  run(until: () => boolean): Promise<void>
}

async function run(loads: ReadonlyMap<string, Runs>, failed: AbortController, least: number, isEnough: () => boolean): Promise<void> {
  const start = performance.now()
  const until = () => {
    const ms = performance.now() - start
    if (failed.signal.aborted || ms > mostMs) return true
    return ms > least && isEnough() && [...loads.values()].every((load) => load.answered > fewest)
  }
  try {
    await Promise.all([...loads.values()].map((load) => load.run(until)))
  } catch (error) {
    failed.abort()
    throw error
  }
}

/** Every answered send is there once, in the order of its sender, and answers the same when repeated; the rest is not there. */
async function checkSent(instance: OpenInstance, load: Load): Promise<void> {
  const rows = await instance.storage.find('event', { where: { type: 'm.room.message' }, orderBy: ['order'] })
  const orders = new Map(rows.map((row) => [row.eventId, row.order]))
  assert.equal(orders.size, rows.length)
  const transactions = rows.map((row) => `${row.sender} ${row.device} ${row.txnId}`)
  assert.equal(new Set(transactions).size, rows.length, 'an event was doubled')
  const answered = load.sent.filter((sent) => sent.eventId !== null)
  const last = new Map<string, number>()
  for (const sent of answered) {
    const order = orders.get(sent.eventId!)
    assert.ok(order !== undefined, `${sent.body} was answered and is gone`)
    assert.ok(order > (last.get(sent.actor.userId) ?? 0), 'events of one sender changed places')
    last.set(sent.actor.userId, order)
  }
  for (const sent of answered.slice(-repeated)) assert.equal(await resend(instance, sent), sent.eventId)
  assert.equal(rows.length, answered.length, 'something was refused and is there')
  assert.ok(answered.length > fewest, `only ${answered.length} sends were answered`)
}

/** What an event names exists: no change set came through without those that it was decided on. */
async function checkWhole({ storage }: OpenInstance): Promise<void> {
  const [rooms, users, events, states] = await Promise.all([
    storage.find('room', { where: {} }),
    storage.find('user', { where: {} }),
    storage.find('event', { where: {} }),
    storage.find('state', { where: {} }),
  ])
  const roomKeys = new Set(rooms.map((row) => row.key))
  const userKeys = new Set(users.map((row) => row.key))
  const places = new Set(events.map((row) => `${row.room} ${row.order}`))
  for (const event of events) {
    assert.ok(roomKeys.has(event.room) && userKeys.has(event.sender), `event ${event.order} has no room or no sender`)
    if (event.replaces !== null) assert.ok(places.has(`${event.room} ${event.replaces}`), `event ${event.order} replaces nothing`)
  }
  for (const state of states) assert.ok(places.has(`${state.room} ${state.order}`), `${state.type} has no event`)
}

/** The number of cells compared. */
export async function checkAll({ host, loads, devices }: Loads & { readonly host: InstanceHost }): Promise<number> {
  let cells = 0
  for (const [name, load] of loads) {
    await load.visit()
    const instance = await host.instance(name)
    await checkSent(instance, load)
    await checkWhole(instance)
    await devices.get(name)!.check(instance)
    cells += await checkMemory(instance)
  }
  return cells
}
