/**
 * What always gets the same answer: the feature makes no sense here, or a client must be told that it is absent. What is absent with 404
 * M_UNRECOGNIZED needs no line: every unknown path says so.
 */
import { type Auth, type Endpoint, fixedReply, type Method } from '../endpoint.ts'

const client = '/_matrix/client/v3'

const refusals: Readonly<Record<string, { readonly status: number; readonly error: string }>> = {
  M_FORBIDDEN: { status: 403, error: 'This is not offered here' },
  M_NOT_FOUND: { status: 404, error: 'Not found' },
  M_THREEPID_DENIED: { status: 403, error: 'Third-party identifiers are not used here' },
  M_THREEPID_MEDIUM_NOT_SUPPORTED: { status: 400, error: 'Third-party identifiers are not used here' },
}

/** name, method, path, auth, the body of a 200 or the errcode of a refusal */
type Row = readonly [name: string, method: Method, path: string, auth: Auth, answer: object | string]

const rows: readonly Row[] = [
  ['getWellknownSupport', 'GET', '/.well-known/matrix/support', 'none', 'M_NOT_FOUND'],
  ['getWellknownPolicy', 'GET', '/.well-known/matrix/policy_server', 'none', 'M_NOT_FOUND'],
  ['requestTokenToRegisterEmail', 'POST', `${client}/register/email/requestToken`, 'none', 'M_THREEPID_DENIED'],
  ['requestTokenToRegisterMSISDN', 'POST', `${client}/register/msisdn/requestToken`, 'none', 'M_THREEPID_DENIED'],
  ['requestTokenToResetPasswordEmail', 'POST', `${client}/account/password/email/requestToken`, 'none', 'M_THREEPID_DENIED'],
  ['requestTokenToResetPasswordMSISDN', 'POST', `${client}/account/password/msisdn/requestToken`, 'none', 'M_THREEPID_DENIED'],
  // An error would show a red box in the settings.
  ['getAccount3PIDs', 'GET', `${client}/account/3pid`, 'accessToken', { threepids: [] }],
  ['post3PIDs', 'POST', `${client}/account/3pid`, 'accessToken', 'M_THREEPID_DENIED'],
  ['add3PID', 'POST', `${client}/account/3pid/add`, 'accessToken', 'M_THREEPID_DENIED'],
  ['bind3PID', 'POST', `${client}/account/3pid/bind`, 'accessToken', 'M_THREEPID_DENIED'],
  ['delete3pidFromAccount', 'POST', `${client}/account/3pid/delete`, 'accessToken', { id_server_unbind_result: 'no-support' }],
  ['unbind3pidFromAccount', 'POST', `${client}/account/3pid/unbind`, 'accessToken', { id_server_unbind_result: 'no-support' }],
  ['requestTokenTo3PIDEmail', 'POST', `${client}/account/3pid/email/requestToken`, 'none', 'M_THREEPID_MEDIUM_NOT_SUPPORTED'],
  ['requestTokenTo3PIDMSISDN', 'POST', `${client}/account/3pid/msisdn/requestToken`, 'none', 'M_THREEPID_MEDIUM_NOT_SUPPORTED'],
  ['roomInitialSync', 'GET', `${client}/rooms/{roomId}/initialSync`, 'accessToken', 'M_FORBIDDEN'],
  ['reportRoom', 'POST', `${client}/rooms/{roomId}/report`, 'accessToken', {}],
  ['setPresence', 'PUT', `${client}/presence/{userId}/status`, 'accessToken', {}],
  ['getPushers', 'GET', `${client}/pushers`, 'accessToken', { pushers: [] }],
  ['getNotifications', 'GET', `${client}/notifications`, 'accessToken', { notifications: [] }],
  // "No TURN": anything else is asked for again and again.
  ['getTurnServer', 'GET', `${client}/voip/turnServer`, 'accessToken', {}],
]

export const fixedReplies: Readonly<Record<string, Endpoint>> = Object.fromEntries(
  rows.map(([name, method, path, auth, answer]) => {
    const refusal = typeof answer === 'string' ? refusals[answer]! : null
    const body = refusal ? { errcode: answer, error: refusal.error } : (answer as object)
    return [name, fixedReply({ method, path, auth, status: refusal?.status ?? 200, body })]
  }),
)
