/** A person's device with matrix-js-sdk and its rust crypto, as Element Web uses them, and the requests that it makes. */
import assert from 'node:assert/strict'
import type { OlmMachine } from '@matrix-org/matrix-sdk-crypto-wasm'
import {
  type AuthDict,
  ClientEvent,
  createClient,
  type MatrixClient,
  MatrixError,
  type MatrixEvent,
  type Room,
  type UIAuthCallback,
} from 'matrix-js-sdk'
import {
  type CryptoApi,
  CryptoEvent,
  decodeRecoveryKey,
  VerificationPhase,
  type VerificationRequest,
  type Verifier,
  VerifierEvent,
} from 'matrix-js-sdk/lib/crypto-api/index.js'
import { RustBackupManager } from 'matrix-js-sdk/lib/rust-crypto/backup.js'
import { until } from '../go/sdk-client.ts'
import { RequestCounter } from './request-counter.ts'

const silent = { trace() {}, debug() {}, info() {}, warn() {}, error() {}, getChild: () => silent }

// Up to ten seconds otherwise, so that the clients of many people do not come at once.
Object.assign(RustBackupManager, { maxBackupLoopStartDelayMillis: 0 })

export interface Account {
  readonly userId: string
  readonly password: string
}

/** Between a client and the server. */
class Line {
  cut = new AbortController()
  readonly fetch: typeof fetch

  constructor(through: typeof fetch) {
    this.fetch = async (input, init) => {
      const { signal } = this.cut
      try {
        signal.throwIfAborted()
        return await through(input, { ...init, signal: AbortSignal.any(init?.signal ? [init.signal, signal] : [signal]) })
      } catch (error) {
        throw signal.aborted ? new TypeError('no network') : error
      }
    }
  }
}

export class EncryptedClient {
  readonly client: MatrixClient
  readonly account: Account
  readonly counter: RequestCounter
  /** what the person has written down, and types in when the client asks for it */
  recoveryKey: string | null
  /** how often the client had to ask for the account's password */
  passwordsAsked = 0

  private readonly line: Line

  private constructor(client: MatrixClient, account: Account, counter: RequestCounter, line: Line, recoveryKey: string | null) {
    this.client = client
    this.account = account
    this.counter = counter
    this.line = line
    this.recoveryKey = recoveryKey
  }

  /** A new device, logged in by password, with its keys uploaded and the first sync done. */
  static async login(
    baseUrl: string,
    account: Account,
    options: { recoveryKey?: string; fetch?: (counted: typeof fetch) => typeof fetch } = {},
  ): Promise<EncryptedClient> {
    const visitor = createClient({ logger: silent, baseUrl })
    const identifier = { type: 'm.id.user', user: account.userId }
    const answer = await visitor.loginRequest({ type: 'm.login.password', identifier, password: account.password })
    const counter = new RequestCounter()
    const line = new Line(options.fetch?.(counter.fetch) ?? counter.fetch)
    let self: EncryptedClient
    const client = createClient({
      logger: silent,
      baseUrl,
      fetchFn: line.fetch,
      accessToken: answer.access_token,
      userId: answer.user_id,
      deviceId: answer.device_id,
      timelineSupport: true,
      cryptoCallbacks: {
        getSecretStorageKey: async ({ keys }) => {
          const [id] = Object.keys(keys)
          return id && self.recoveryKey ? [id, decodeRecoveryKey(self.recoveryKey)] : null
        },
      },
    })
    self = new EncryptedClient(client, account, counter, line, options.recoveryKey ?? null)
    await client.initRustCrypto({ useIndexedDB: false })
    const prepared = new Promise<void>((resolve, reject) => {
      const onSync = (state: string, _: unknown, data: unknown): void => {
        if (state === 'PREPARED') resolve()
        else if (state === 'ERROR') reject(new Error(`sync: ${JSON.stringify(data)}`))
        else return
        client.off(ClientEvent.Sync, onSync)
      }
      client.on(ClientEvent.Sync, onSync)
    })
    await client.startClient({ initialSyncLimit: 20, lazyLoadMembers: true, pollTimeout: 5_000 })
    await prepared
    await until('its own keys', async () => (await self.devicesOf(self.userId)).includes(self.deviceId))
    return self
  }

  get crypto(): CryptoApi {
    return this.client.getCrypto()!
  }

  get userId(): string {
    return this.account.userId
  }

  get deviceId(): string {
    return this.client.getDeviceId()!
  }

  stop(): void {
    this.client.stopClient()
  }

  /** What is under way is lost, and nothing more goes through. */
  disconnect(): void {
    this.line.cut.abort()
  }

  reconnect(): void {
    this.line.cut = new AbortController()
    this.client.retryImmediately()
  }

  /** Cross-signing, secret storage under a new recovery key, and key backup: what Element does with a new account. */
  async setUp(): Promise<void> {
    await this.crypto.bootstrapCrossSigning({ authUploadDeviceSigningKeys: this.authenticate })
    await this.crypto.bootstrapSecretStorage({
      createSecretStorageKey: async () => {
        const key = await this.crypto.createRecoveryKeyFromPassphrase()
        this.recoveryKey = key.encodedPrivateKey!
        return key
      },
      setupNewKeyBackup: true,
    })
  }

  /** Asks without a password first, and gives it when that is refused. */
  readonly authenticate: UIAuthCallback<void> = (makeRequest) => this.withPassword(makeRequest)

  async withPassword<T>(makeRequest: (auth: AuthDict | null) => Promise<T>): Promise<T> {
    try {
      return await makeRequest(null)
    } catch (error) {
      if (!(error instanceof MatrixError) || error.httpStatus !== 401 || !error.data['flows']) throw error
      this.passwordsAsked += 1
      const identifier = { type: 'm.id.user', user: this.userId }
      return makeRequest({
        type: 'm.login.password',
        identifier,
        password: this.account.password,
        session: error.data['session'] as string,
      })
    }
  }

  /** Ids of the devices that a user has keys for, as far as this client knows. */
  async devicesOf(userId: string): Promise<string[]> {
    const devices = await this.crypto.getUserDeviceInfo([userId], false)
    return [...(devices.get(userId)?.keys() ?? [])]
  }

  /** Whether its owner, whom this person has verified, has signed the device. */
  async trusts(userId: string, deviceId: string): Promise<boolean> {
    return (await this.crypto.getDeviceVerificationStatus(userId, deviceId))?.crossSigningVerified === true
  }

  /** Whether its owner has signed the device, whoever that is. */
  async seesSigned(userId: string, deviceId: string): Promise<boolean> {
    return (await this.crypto.getDeviceVerificationStatus(userId, deviceId))?.signedByOwner === true
  }

  /** The Rust part, for what the SDK does not offer. */
  get olmMachine(): OlmMachine {
    return (this.crypto as unknown as { olmMachine: OlmMachine }).olmMachine
  }

  /** The id of a new encrypted room, into which the others have come. */
  async encryptedRoom(others: readonly EncryptedClient[]): Promise<string> {
    const { room_id: roomId } = await this.client.createRoom({
      invite: [...new Set(others.map(({ userId }) => userId))].filter((userId) => userId !== this.userId),
      initial_state: [{ type: 'm.room.encryption', state_key: '', content: { algorithm: 'm.megolm.v1.aes-sha2' } }],
    })
    for (const each of others) if (each.userId !== this.userId) await each.client.joinRoom(roomId)
    const all = [this, ...others]
    const members = new Set(all.map(({ userId }) => userId)).size
    for (const each of all) {
      const room = await until('the room', () => each.client.getRoom(roomId))
      await until('its members', () => room.getJoinedMemberCount() === members && room.getMyMembership() === 'join')
      await until('its encryption', () => each.crypto.isEncryptionEnabledInRoom(roomId))
    }
    return roomId
  }

  async say(roomId: string, text: string): Promise<string> {
    return (await this.client.sendTextMessage(roomId, text)).event_id
  }

  /** What the messages say that came encrypted and could be read, oldest first. */
  read(roomId: string): string[] {
    return this.readable(roomId).map((event) => event.getContent()['body'] as string)
  }

  readable(roomId: string): MatrixEvent[] {
    const room: Room | null = this.client.getRoom(roomId)
    const events = room?.getLiveTimeline().getEvents() ?? []
    return events.filter(
      (event) => event.isEncrypted() && !event.isDecryptionFailure() && event.getType() === 'm.room.message' && event.status === null,
    )
  }

  /** How the messages are that could not be read. */
  unreadable(roomId: string): (string | null)[] {
    const events = this.client.getRoom(roomId)?.getLiveTimeline().getEvents() ?? []
    return events.filter((event) => event.isDecryptionFailure()).map((event) => event.decryptionFailureReason)
  }

  /** To decrypt what could not be decrypted, as when its room is opened again. */
  async tryAgain(roomId: string): Promise<void> {
    const events = this.client.getRoom(roomId)?.getLiveTimeline().getEvents() ?? []
    for (const event of events) if (event.isDecryptionFailure()) await event.attemptDecryption(this.crypto as never, { isRetry: true })
  }

  async reads(roomId: string, text: string): Promise<void> {
    await until(`${this.deviceId} of ${this.userId} to read "${text}"`, () => this.read(roomId).includes(text))
  }

  /** The next request that somebody sends to verify. */
  asked(): Promise<VerificationRequest> {
    return new Promise((resolve) => this.client.once(CryptoEvent.VerificationRequestReceived, resolve))
  }
}

/** Two people compare emoji until both are sure. */
export async function compareEmoji(mine: VerificationRequest, theirs: VerificationRequest): Promise<void> {
  await theirs.accept()
  await until('both to be ready', () => mine.phase === VerificationPhase.Ready && theirs.phase === VerificationPhase.Ready)
  const first = await mine.startVerification('m.sas.v1')
  const second = await until('the other to have started', () => theirs.verifier)
  const [mySas, theirSas] = [shown(first), shown(second)]
  const verified = Promise.all([first.verify(), second.verify()])
  // Rejected before the emoji are there: told where it is awaited.
  verified.catch(() => undefined)
  const [a, b] = await Promise.race([Promise.all([mySas, theirSas]), verified.then(() => assert.fail('verified without emoji'))])
  assert.equal(a.sas.emoji?.length, 7)
  assert.deepEqual(a.sas.emoji, b.sas.emoji)
  await Promise.all([a.confirm(), b.confirm()])
  await verified
  await until('both to be done', () => mine.phase === VerificationPhase.Done && theirs.phase === VerificationPhase.Done)
}

function shown(verifier: Verifier) {
  return new Promise<NonNullable<ReturnType<Verifier['getShowSasCallbacks']>>>((resolve) => {
    const now = verifier.getShowSasCallbacks()
    if (now) resolve(now)
    else verifier.once(VerifierEvent.ShowSas, resolve)
  })
}
