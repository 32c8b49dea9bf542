/** The remote side of echobridge, played over its control port (README.md). */
import { ask, type BridgeProcess } from './bridge-process.ts'

export interface EchoRecord {
  readonly seq: number
  /** ms */
  readonly ts: number
  readonly id: string
  readonly kind: string
  readonly portal: number
  readonly ghost: number
  readonly sender: string
  readonly text: string
  readonly emoji: string
  readonly typing: boolean
  readonly target: string
  readonly event_id: string
  readonly target_event_id: string
  readonly refused: boolean
  readonly deleted: boolean
}

export interface EchoPortal {
  readonly portal: number
  readonly room_id: string
  readonly bridged: number
}

export class EchoNetwork {
  private readonly address: string

  constructor(bridge: BridgeProcess) {
    this.address = `http://${bridge.config.network.control}`
  }

  /** Somebody there does something; the homeserver has it when this answers. */
  async act(deed: {
    kind: string
    portal?: number
    ghost?: number
    text?: string
    target?: string
    emoji?: string
    ms?: number
    count?: number
  }): Promise<EchoRecord[]> {
    return (await ask(`${this.address}/remote`, 'POST', deed)).sent
  }

  /** Of what came from Matrix, all of a kind. */
  async received(kind: string): Promise<EchoRecord[]> {
    const { received } = await ask(`${this.address}/received`, 'GET')
    return received.filter((record: EchoRecord) => record.kind === kind)
  }

  /** The next `count` of a kind that come from Matrix are refused. */
  async refuse(kind: string, count = 1): Promise<void> {
    await ask(`${this.address}/refuse`, 'POST', { kind, count })
  }

  async portals(): Promise<EchoPortal[]> {
    return (await ask(`${this.address}/state`, 'GET')).portals
  }

  /** A chat as the remote side sees it. */
  async messages(portal: number): Promise<EchoRecord[]> {
    return (await ask(`${this.address}/messages?portal=${portal}`, 'GET')).messages
  }
}
