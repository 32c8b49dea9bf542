/** End-to-end encryption over GraphQL alone: the encryption library of the Rust SDK, and what it wants sent and told. */
import {
  CollectStrategy,
  DecryptionSettings,
  DeviceId,
  DeviceLists,
  EncryptionSettings,
  OlmMachine,
  RequestType,
  RoomId,
  TrustRequirement,
  UserId,
} from '@matrix-org/matrix-sdk-crypto-wasm'
import type { Follower, GraphqlClient } from './client.ts'

/** What the library wants sent; the fields depend on its type. */
interface Request {
  readonly id: string | undefined
  readonly type: RequestType
  readonly body: string
  readonly event_type?: string
  readonly txn_id?: string
}

// biome-ignore lint/suspicious/noExplicitAny: whatever the document asked for
type Answer = any

const userIds = (users: readonly string[]) => users.map((user) => new UserId(user))

export class OlmClient {
  readonly graphql: GraphqlClient
  readonly machine: OlmMachine
  /** positions up to which messages were handled */
  readonly handled: number[] = []
  private readonly followers: Follower<unknown>[]
  private line: Promise<unknown> = Promise.resolve()

  private constructor(graphql: GraphqlClient, machine: OlmMachine, position: number) {
    this.graphql = graphql
    this.machine = machine
    this.followers = [
      graphql.follow(
        'subscription ($after: Position) { toDeviceMessages(after: $after) { position messages { type sender content } } }',
        {},
        ({ toDeviceMessages: { position, messages } }) => {
          void this.inTurn(async () => {
            await this.hear({ messages })
            this.handled.push(position)
            await graphql.ask('mutation ($upTo: Position!) { acknowledgeToDeviceMessages(upTo: $upTo) }', { upTo: position })
          })
          return { position, value: messages }
        },
      ),
      graphql.follow(
        'subscription ($after: Position) { deviceListChanges(after: $after) { position changed left } }',
        { after: position },
        ({ deviceListChanges: { position, changed, left } }) => {
          void this.inTurn(() => this.hear({ changed, left }))
          return { position, value: changed }
        },
      ),
      graphql.follow('subscription { keyCounts { oneTimeKeys unusedFallbackKeyTypes } }', {}, ({ keyCounts }) => {
        void this.inTurn(() => this.hear(keyCounts))
        return { position: 0, value: keyCounts }
      }),
    ]
  }

  static async open(graphql: GraphqlClient): Promise<OlmClient> {
    const machine = await OlmMachine.initialize(new UserId(graphql.userId), new DeviceId(graphql.deviceId))
    const client = new OlmClient(graphql, machine, await graphql.position())
    await client.inTurn(async () => undefined)
    return client
  }

  /** All connections are gone, without a word; they come back by themselves. */
  cut(): void {
    for (const follower of this.followers) follower.cut()
  }

  async stop(): Promise<void> {
    for (const follower of this.followers) await follower.stop()
    await this.line
    this.machine.close()
  }

  /** The library does one thing after another; what it then wants sent is sent. */
  private inTurn<T>(step: () => Promise<T>): Promise<T> {
    const done = this.line.then(step).then(async (result) => {
      await this.sendAll()
      return result
    })
    this.line = done.catch(() => undefined)
    return done
  }

  private async hear(news: {
    messages?: object[]
    changed?: string[]
    left?: string[]
    oneTimeKeys?: Record<string, number>
    unusedFallbackKeyTypes?: string[]
  }): Promise<void> {
    const { messages = [], changed = [], left = [], oneTimeKeys = {}, unusedFallbackKeyTypes } = news
    // The variant that takes what is left out for unchanged.
    await this.machine.receiveSyncChangesMsc4186(
      JSON.stringify(messages),
      new DeviceLists(userIds(changed), userIds(left)),
      new Map(Object.entries(oneTimeKeys)),
      unusedFallbackKeyTypes && new Set(unusedFallbackKeyTypes),
    )
  }

  private async sendAll(): Promise<void> {
    for (let rounds = 0; rounds < 20; rounds++) {
      const requests = (await this.machine.outgoingRequests()) as Request[]
      if (requests.length === 0) return
      for (const request of requests) await this.send(request)
    }
    throw new Error('the library never has enough')
  }

  private async send(request: Request): Promise<void> {
    const answer = await this.answerTo(request, JSON.parse(request.body))
    if (request.id) await this.machine.markRequestAsSent(request.id, request.type, JSON.stringify(answer))
  }

  private async answerTo({ type, event_type: eventType, txn_id: txnId }: Request, body: Answer): Promise<object> {
    const { graphql } = this
    if (type === RequestType.KeysUpload) {
      const upload =
        'mutation ($deviceKeys: EventContent, $oneTimeKeys: EventContent, $fallbackKeys: EventContent) { uploadKeys(deviceKeys: $deviceKeys, oneTimeKeys: $oneTimeKeys, fallbackKeys: $fallbackKeys) { oneTimeKeys } }'
      const { device_keys: deviceKeys, one_time_keys: oneTimeKeys, fallback_keys: fallbackKeys } = body
      return { one_time_key_counts: (await graphql.ask(upload, { deviceKeys, oneTimeKeys, fallbackKeys })).uploadKeys.oneTimeKeys }
    }
    if (type === RequestType.KeysQuery) {
      const query = 'query ($deviceKeys: JsonObject!) { queryKeys(deviceKeys: $deviceKeys) }'
      return (await graphql.ask(query, { deviceKeys: body.device_keys })).queryKeys
    }
    if (type === RequestType.KeysClaim) {
      const claim = 'mutation ($oneTimeKeys: JsonObject!) { claimKeys(oneTimeKeys: $oneTimeKeys) }'
      return (await graphql.ask(claim, { oneTimeKeys: body.one_time_keys })).claimKeys
    }
    if (type === RequestType.ToDevice) {
      const send =
        'mutation ($eventType: String!, $txnId: String!, $messages: JsonObject!) { sendToDevice(eventType: $eventType, txnId: $txnId, messages: $messages) }'
      return graphql.ask(send, { eventType, txnId, messages: body.messages })
    }
    if (type === RequestType.SignatureUpload) {
      const upload = 'mutation ($signatures: JsonObject!) { uploadSignatures(signatures: $signatures) }'
      return { failures: (await graphql.ask(upload, { signatures: body })).uploadSignatures }
    }
    throw new Error(`a request of type ${RequestType[type]}`)
  }

  /** Makes cross-signing keys and signs the own device. */
  signItself(): Promise<void> {
    return this.inTurn(async () => {
      const requests = await this.machine.bootstrapCrossSigning(false)
      if (requests.uploadKeysRequest) await this.send(requests.uploadKeysRequest as Request)
      const {
        master_key: masterKey,
        self_signing_key: selfSigningKey,
        user_signing_key: userSigningKey,
      } = JSON.parse(requests.uploadSigningKeysRequest.body)
      await this.graphql.ask(
        'mutation ($masterKey: JsonObject, $selfSigningKey: JsonObject, $userSigningKey: JsonObject) { uploadCrossSigningKeys(masterKey: $masterKey, selfSigningKey: $selfSigningKey, userSigningKey: $userSigningKey) }',
        { masterKey, selfSigningKey, userSigningKey },
      )
      await this.send(requests.uploadSignaturesRequest as Request)
    })
  }

  /** Ids of the devices of a user that it knows. */
  async devicesOf(userId: string): Promise<string[]> {
    const devices = await this.machine.getUserDevices(new UserId(userId), 0)
    return devices.devices().map(({ deviceId }) => deviceId.toString())
  }

  /** The id of the event. */
  say(roomId: string, to: readonly string[], text: string): Promise<string> {
    return this.inTurn(async () => {
      const room = () => new RoomId(roomId)
      await this.machine.updateTrackedUsers(userIds(to))
      await this.sendAll()
      const claim = await this.machine.getMissingSessions(userIds(to))
      if (claim) await this.send(claim as Request)
      const settings = new EncryptionSettings()
      settings.sharingStrategy = CollectStrategy.allDevices()
      for (const request of await this.machine.shareRoomKey(room(), userIds(to), settings)) await this.send(request as Request)
      const content = JSON.stringify({ msgtype: 'm.text', body: text })
      const encrypted = await this.machine.encryptRoomEvent(room(), 'm.room.message', content)
      return this.graphql.send(roomId, JSON.parse(encrypted), 'm.room.encrypted')
    })
  }

  /** What the encrypted messages of a room say; null where the key has not come yet. */
  async read(roomId: string): Promise<(string | null)[]> {
    const query = 'query ($roomId: ID!) { room(roomId: $roomId) { timeline(last: 50) { edges { node { type raw } } } } }'
    const { edges } = (await this.graphql.ask(query, { roomId })).room.timeline
    const encrypted = edges.map(({ node }: Answer) => node).filter(({ type }: Answer) => type === 'm.room.encrypted')
    return this.inTurn(() => Promise.all(encrypted.map(({ raw }: Answer) => this.decrypt(roomId, raw))))
  }

  private async decrypt(roomId: string, event: object): Promise<string | null> {
    const settings = new DecryptionSettings(TrustRequirement.Untrusted)
    try {
      const { event: plain } = await this.machine.decryptRoomEvent(JSON.stringify(event), new RoomId(roomId), settings)
      return JSON.parse(plain).content.body
    } catch {
      return null
    }
  }
}
