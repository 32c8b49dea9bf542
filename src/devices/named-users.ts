/** The users that a request for keys names: those who are here, and those of servers that we do not speak with. */
import { invalidParam } from '../errors.ts'
import { domainOf } from '../ids.ts'
import { isUserId } from '../rules/event-limits.ts'
import type { Json, JsonObject } from '../rules/values.ts'
import { type Instance, isLocal } from '../stream/instance.ts'

const noFederation = JSON.stringify({ errcode: 'M_FORBIDDEN', error: 'This homeserver does not federate' })

export interface NamedUsers {
  /** user id → what is asked of the user */
  readonly local: readonly (readonly [userId: string, asked: Json])[]
  /** JSON object: domain → why it cannot be asked; clients then leave it alone for a while */
  readonly failures: string
}

/** Errors: M_INVALID_PARAM for what is no user id. */
export function namedUsers(instance: Instance, asked: JsonObject): NamedUsers {
  const local: [string, Json][] = []
  const others = new Set<string>()
  for (const [userId, value] of Object.entries(asked)) {
    if (!isUserId(userId)) throw invalidParam(`${userId} is not a user ID`)
    if (isLocal(instance, userId)) local.push([userId, value])
    else others.add(domainOf(userId))
  }
  return { local, failures: `{${[...others].map((domain) => `${JSON.stringify(domain)}:${noFederation}`).join()}}` }
}
