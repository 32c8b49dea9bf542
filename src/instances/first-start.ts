/** What the first start of a data folder makes: the default instance, its owner and the administrator. */
import { newSecret } from '../ids.ts'
import { registerPerson } from '../users/accounts.ts'
import type { InstanceHost } from './host.ts'

export interface FirstAccounts {
  readonly owner: { readonly userId: string; readonly password: string }
  readonly administrator: { readonly userId: string; readonly password: string }
}

const administratorName = 'admin'

/** Null when the default instance exists already. Opens every active instance: their bridges wait for deliveries. */
export async function firstStart(host: InstanceHost): Promise<FirstAccounts | null> {
  const rows = await host.list()
  const existing = rows.find((row) => row.name === 'default')
  if (existing) {
    // Killed between making the instance and its accounts: made now.
    const accounts = await makeAccounts(host)
    await Promise.all(rows.filter((row) => row.status === 'active').map((row) => host.instance(row.name!)))
    return accounts
  }
  const { owner, userDomain, bridgeDomain } = host.config
  await host.create({ name: 'default', owner: `@${owner}:${userDomain}`, userDomain, bridgeDomain })
  return makeAccounts(host)
}

async function makeAccounts(host: InstanceHost): Promise<FirstAccounts | null> {
  const instance = await host.defaultInstance()
  const administratorId = `@${administratorName}:${instance.userDomain}`
  if (await instance.storage.first('user', { userId: administratorId })) return null
  const owner = { userId: instance.ownerId, password: newSecret(host.ports).slice(0, 20) }
  const administrator = { userId: administratorId, password: newSecret(host.ports).slice(0, 20) }
  if (!(await instance.storage.first('user', { userId: owner.userId }))) {
    await registerPerson(instance, { username: owner.userId, password: owner.password, inhibitLogin: true })
  }
  await registerPerson(instance, { username: administrator.userId, password: administrator.password, admin: true, inhibitLogin: true })
  return { owner, administrator }
}
