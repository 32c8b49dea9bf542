/** One homeserver's flood, from a process of its own: 32 senders, history in batches as bridges send it, and rooms of 100 000 events that are deleted. */
import { historyOf, type Place, sendHistory } from './history.ts'
import { Load } from './load.ts'

const v3 = '/_matrix/client/v3'
const unstable = '/_matrix/client/unstable'

async function flood({ url, bridgeToken, ownerToken }: Place & { readonly ownerToken: string }): Promise<never> {
  const load = new Load(url)
  const newRoom = async (token: string): Promise<string> => (await load.request('POST', `${v3}/createRoom`, token, {}))['room_id'] as string
  const grow = async (): Promise<string> => {
    const room = await newRoom(bridgeToken)
    for (let i = 0; i < 200; i++) await sendHistory(load, bridgeToken, room, historyOf('flood', 500))
    return room
  }
  let grown = await grow()
  process.stdout.write('begins\n')
  const deleting = async (): Promise<never> => {
    for (;;) {
      await load.text('POST', `${unstable}/com.beeper.yeet/rooms/${encodeURIComponent(grown)}/delete`, bridgeToken, {})
      grown = await grow()
    }
  }
  const sending = async (client: number): Promise<never> => {
    const room = encodeURIComponent(await newRoom(ownerToken))
    for (let n = 0; ; n++) {
      await load.text('PUT', `${v3}/rooms/${room}/send/m.room.message/f${client}x${n}`, ownerToken, {
        msgtype: 'm.text',
        body: 'x'.repeat(171),
      })
    }
  }
  return Promise.race([deleting(), ...Array.from({ length: 32 }, (_, client) => sending(client))])
}

await flood(JSON.parse(process.argv[2] ?? '') as Place & { ownerToken: string })
