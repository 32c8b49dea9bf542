/** What the first start of a data folder makes: the default instance, its owner and the administrator. */
import type { InstanceRow } from '../storage/tables.ts'
import { command } from '../stream/command.ts'
import { newPassword, registerPerson, setPassword } from '../users/accounts.ts'
import { beginSession } from '../users/sessions.ts'
import { findUser } from '../users/users.ts'
import type { InstanceHost } from './host.ts'

export interface FirstAccounts {
  readonly owner: { readonly userId: string; readonly password: string }
  readonly administrator: { readonly userId: string; readonly password: string }
}

const administratorName = 'admin'

/** Null when the default instance exists already. Opens every active instance that can be had: their bridges wait for deliveries. */
export async function firstStart(host: InstanceHost): Promise<FirstAccounts | null> {
  const rows = await host.list()
  const existing = rows.find((row) => row.name === 'default')
  if (existing) {
    // Killed between making the instance and its accounts: made now.
    const accounts = (await hasAccounts(host, existing)) ? null : await makeAccounts(host)
    await Promise.all(rows.filter((row) => row.status === 'active').map((row) => host.openSoon(row.name!)))
    return accounts
  }
  const { owner, userDomain, bridgeDomain } = host.config
  await host.create({ name: 'default', owner: `@${owner}:${userDomain}`, userDomain, bridgeDomain })
  return makeAccounts(host)
}

/** A session of the administrator for the command line on this machine; the one before ends. */
export async function commandLineToken(host: InstanceHost): Promise<string> {
  const instance = await host.defaultInstance()
  const session = await command(instance, (decision) => {
    const user = findUser(decision, `@${administratorName}:${instance.userDomain}`)
    if (!user) throw new Error('there is no administrator')
    return beginSession(decision, user, { deviceId: 'COMMANDLINE', displayName: 'Command line' })
  })
  return session.accessToken
}

/** Asked of the database: the instance itself may be another process's, as it is for a while after that one was killed. */
async function hasAccounts(host: InstanceHost, { key, userDomain }: InstanceRow): Promise<boolean> {
  for (const shard of host.shards) {
    if (await shard.storage(key).first('user', { userId: `@${administratorName}:${userDomain}` })) return true
  }
  return false
}

async function makeAccounts(host: InstanceHost): Promise<FirstAccounts | null> {
  const instance = await host.defaultInstance()
  const administratorId = `@${administratorName}:${instance.userDomain}`
  if (await instance.storage.first('user', { userId: administratorId })) return null
  const owner = { userId: instance.ownerId, password: newPassword(host.ports) }
  const administrator = { userId: administratorId, password: newPassword(host.ports) }
  // Killed between the two: nobody was told the owner's password.
  if (await instance.storage.first('user', { userId: owner.userId })) await setPassword(instance, null, owner)
  else await registerPerson(instance, { username: owner.userId, password: owner.password, inhibitLogin: true })
  await registerPerson(instance, { username: administrator.userId, password: administrator.password, admin: true, inhibitLogin: true })
  return { owner, administrator }
}
