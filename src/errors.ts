/**
 * The one error of both faces: GraphQL `extensions.errcode`, REST `{errcode, error, ...fields}`.
 * https://spec.matrix.org/v1.19/client-server-api/#standard-error-response
 */
const usualStatus = {
  M_FORBIDDEN: 403,
  M_UNKNOWN_TOKEN: 401,
  M_MISSING_TOKEN: 401,
  M_USER_LOCKED: 401,
  M_USER_SUSPENDED: 403,
  M_USER_DEACTIVATED: 403,
  M_BAD_JSON: 400,
  M_NOT_JSON: 400,
  M_NOT_FOUND: 404,
  M_LIMIT_EXCEEDED: 429,
  M_UNRECOGNIZED: 404,
  M_UNKNOWN: 500,
  M_USER_IN_USE: 400,
  M_INVALID_USERNAME: 400,
  M_EXCLUSIVE: 400,
  M_WEAK_PASSWORD: 400,
  M_ROOM_IN_USE: 400,
  M_INVALID_ROOM_STATE: 400,
  M_UNSUPPORTED_ROOM_VERSION: 400,
  M_INCOMPATIBLE_ROOM_VERSION: 400,
  M_BAD_STATE: 403,
  M_BAD_ALIAS: 400,
  M_DUPLICATE_ANNOTATION: 400,
  M_GUEST_ACCESS_FORBIDDEN: 403,
  M_MISSING_PARAM: 400,
  M_INVALID_PARAM: 400,
  M_INVALID_SIGNATURE: 400,
  M_TOO_LARGE: 413,
  M_APPSERVICE_LOGIN_UNSUPPORTED: 400,
  M_UNKNOWN_DEVICE: 400,
  M_WRONG_ROOM_KEYS_VERSION: 403,
  M_UNKNOWN_POS: 400,
  M_URL_NOT_SET: 400,
  M_BAD_STATUS: 502,
  M_CONNECTION_FAILED: 502,
  M_CONNECTION_TIMEOUT: 504,
  M_CANNOT_OVERWRITE_MEDIA: 409,
  M_NOT_YET_UPLOADED: 504,
  M_THREEPID_DENIED: 403,
  M_THREEPID_MEDIUM_NOT_SUPPORTED: 400,
  M_THREEPID_NOT_FOUND: 400,
  M_PROFILE_TOO_LARGE: 400,
  M_KEY_TOO_LARGE: 400,
  M_RESOURCE_LIMIT_EXCEEDED: 403,
  'FI.MAU.MSC2815_UNREDACTED_CONTENT_DELETED': 404,
  'FI.MAU.WS_NOT_CONNECTED': 502,
  'COM.BEEPER.TXN_WS_NOT_ENABLED': 401,
  'COM.BEEPER.SHUTTING_DOWN': 503,
} as const

export type Errcode = keyof typeof usualStatus

export class MatrixError extends Error {
  readonly errcode: Errcode
  /** further fields of the answer, such as retry_after_ms */
  readonly fields: Readonly<Record<string, unknown>>
  readonly status: number

  constructor(errcode: Errcode, message: string, fields: Readonly<Record<string, unknown>> = {}, status: number = usualStatus[errcode]) {
    super(message)
    this.name = 'MatrixError'
    this.errcode = errcode
    this.fields = fields
    this.status = status
  }
}

/** The instance is not ours at the moment, or its queue is full: the client repeats with the same transaction id. */
export function unavailable(message: string, retryAfterMs = 1_000): MatrixError {
  return new MatrixError('M_UNKNOWN', message, { retry_after_ms: retryAfterMs }, 503)
}

export function forbidden(message: string): MatrixError {
  return new MatrixError('M_FORBIDDEN', message)
}

export function notFound(message: string): MatrixError {
  return new MatrixError('M_NOT_FOUND', message)
}

export function invalidParam(message: string): MatrixError {
  return new MatrixError('M_INVALID_PARAM', message)
}
