/** Senders, each one message after the other, who note what was answered and now and then ask again. */
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Chance } from './chance.ts'
import { type PatientClient, roomPath } from './client.ts'

export interface Answered {
  readonly sender: number
  /** of the sender's messages, from 0 */
  readonly number: number
  readonly roomId: string
  readonly eventId: string
  readonly body: string
}

export class Senders {
  readonly answered: Answered[] = []
  private readonly clients: readonly PatientClient[]
  private readonly rooms: readonly string[]
  private readonly chance: Chance
  private stopped = false

  constructor(clients: readonly PatientClient[], rooms: readonly string[], chance: Chance) {
    this.clients = clients
    this.rooms = rooms
    this.chance = chance
  }

  /** Until stop(); rejects when something was refused or a repeated transaction id was answered with another event. */
  async run(): Promise<void> {
    await Promise.all(this.clients.map((client, sender) => this.send(client, sender)))
  }

  stop(): void {
    this.stopped = true
  }

  /** Repeats a number of the requests that were answered. */
  async repeat(count: number): Promise<void> {
    await Promise.all(Array.from({ length: count }, () => this.again(this.chance.of(this.answered))))
  }

  private async send(client: PatientClient, sender: number): Promise<void> {
    for (let number = 0; !this.stopped; number++) {
      const roomId = this.chance.of(this.rooms)
      const body = `${sender} says ${number}`
      const eventId = await this.put(client, roomId, `${sender}-${number}`, body)
      const answered = { sender, number, roomId, eventId, body }
      this.answered.push(answered)
      if (this.chance.happens(0.05)) await this.again(answered)
      await sleep(this.chance.between(10, 60))
    }
  }

  private async again({ sender, number, roomId, eventId, body }: Answered): Promise<void> {
    assert.equal(await this.put(this.clients[sender]!, roomId, `${sender}-${number}`, body), eventId, `${body}: a repeated transaction id`)
  }

  private async put(client: PatientClient, roomId: string, txnId: string, body: string): Promise<string> {
    return (await client.ask('PUT', `${roomPath(roomId)}/send/m.room.message/${txnId}`, { msgtype: 'm.text', body })).event_id
  }
}
