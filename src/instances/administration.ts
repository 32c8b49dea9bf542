/** What the administrator does with instances. An owner sees the own instance; anybody else gets M_FORBIDDEN. */
import { forbidden, invalidParam, MatrixError } from '../errors.ts'
import { checkIdentifier, isLocalpart, isServerName } from '../rules/event-limits.ts'
import type { InstanceRow } from '../storage/tables.ts'
import type { Instance } from '../stream/instance.ts'
import { newPassword, registerPerson, type SetPassword, setPassword } from '../users/accounts.ts'
import type { Actor } from '../users/actor.ts'
import type { InstanceHost } from './host.ts'

/** Errors: M_FORBIDDEN unless the actor administers the host. The administrator lives in the default instance. */
export function requireAdministrator(instance: Instance, actor: Actor): void {
  if (!actor.admin || instance.name !== 'default' || actor.appservice !== null) throw forbidden('Only the administrator may do this')
}

/** The instances that the actor may see: all for the administrator, the own for its owner. */
export async function visibleInstances(host: InstanceHost, instance: Instance, actor: Actor): Promise<InstanceRow[]> {
  const rows = await host.list()
  if (actor.admin && instance.name === 'default' && actor.appservice === null) return rows
  if (actor.userId === instance.ownerId && !actor.puppet) return rows.filter((row) => row.key === instance.key)
  throw forbidden('Only the administrator and the owner may see this')
}

export interface CreateInstance {
  readonly name: string
  /** localpart or Matrix id of the person it is for */
  readonly owner: string
  readonly userDomain?: string | null
  readonly bridgeDomain?: string | null
  /** drawn at random when left out */
  readonly password?: string | null
}

export interface CreatedInstance {
  readonly instance: Instance
  readonly ownerId: string
  readonly password: string
}

/** Room ids and user ids must fit into 255 bytes with it. */
const longestDomain = 230

/** Errors: M_USER_IN_USE when the name or the owner is taken, M_INVALID_PARAM, M_INVALID_USERNAME. */
export async function createInstance(host: InstanceHost, asking: Instance, actor: Actor, args: CreateInstance): Promise<CreatedInstance> {
  requireAdministrator(asking, actor)
  const userDomain = args.userDomain ?? host.config.userDomain
  const ownerId = args.owner.startsWith('@') ? args.owner : `@${args.owner}:${userDomain}`
  const bridgeDomain = args.bridgeDomain ?? host.config.bridgeDomain
  // All that could be refused later: an instance whose owner has no account would keep both names taken.
  for (const domain of [userDomain, bridgeDomain])
    if (!isServerName(domain) || domain.length > longestDomain) throw invalidParam(`${domain} is not a server name`)
  if (!ownerId.endsWith(`:${userDomain}`)) throw invalidParam(`${ownerId} is not of ${userDomain}`)
  if (!isLocalpart(ownerId.slice(1, -userDomain.length - 1)) || checkIdentifier('owner', ownerId))
    throw new MatrixError('M_INVALID_USERNAME', 'The name of an owner can only contain characters a-z, 0-9, or =_-./+')
  const instance = await host.create({ name: args.name, owner: ownerId, userDomain, bridgeDomain })
  const password = args.password ?? newPassword(host.ports)
  await registerPerson(instance, { username: ownerId, password, inhibitLogin: true })
  return { instance, ownerId, password }
}

/**
 * A new password for a person of an instance, the asking one when none is named; returns it. For the administrator, and for an owner in the
 * own instance. Errors: M_FORBIDDEN, M_NOT_FOUND, M_USER_DEACTIVATED, M_WEAK_PASSWORD, M_INVALID_PARAM.
 */
export async function setPasswordIn(
  host: InstanceHost,
  asking: Instance,
  actor: Actor,
  { instance: name, ...args }: SetPassword & { readonly instance?: string | null | undefined },
): Promise<string> {
  const own = actor.userId === asking.ownerId && actor.appservice === null && (name ?? asking.name) === asking.name
  if (!own) requireAdministrator(asking, actor)
  return setPassword(name ? await host.instance(name) : asking, actor, args)
}

/** The asking instance, or the one that the administrator of the host names. Errors: M_FORBIDDEN, M_NOT_FOUND. */
export async function administeredInstance(
  host: InstanceHost,
  asking: Instance,
  actor: Actor,
  name: string | null | undefined,
): Promise<Instance> {
  if (!name || name === asking.name) return asking
  requireAdministrator(asking, actor)
  return host.instance(name)
}

/** Its tokens answer 401 M_USER_LOCKED until it is resumed; deliveries rest. */
export async function suspendInstance(host: InstanceHost, asking: Instance, actor: Actor, name: string): Promise<boolean> {
  requireAdministrator(asking, actor)
  if (name === 'default') throw new MatrixError('M_INVALID_PARAM', 'The default instance holds the administrator')
  await host.setStatus(name, 'suspended')
  return true
}

export async function resumeInstance(host: InstanceHost, asking: Instance, actor: Actor, name: string): Promise<boolean> {
  requireAdministrator(asking, actor)
  await host.setStatus(name, 'active')
  return true
}

/** Gone at once; its space comes back in slices. */
export async function deleteInstance(host: InstanceHost, asking: Instance, actor: Actor, name: string): Promise<boolean> {
  requireAdministrator(asking, actor)
  if (name === 'default') throw new MatrixError('M_INVALID_PARAM', 'The default instance holds the administrator')
  await host.delete(name)
  return true
}
