/** What calls (MatrixRTC, MSC4143) run over. */
import { builder } from '../builder.ts'

builder.queryFields((t) => ({
  rtcTransports: t.field({
    type: ['JsonObject'],
    description:
      'What the operator offers calls to run over (MSC4143), each with its `type`: `{"type": "livekit", "livekit_service_url": …}`. Empty where nothing is configured. Needs no token. No errors.',
    extensions: { puppet: true },
    resolve: (_, __, { host: { config } }) =>
      config.rtcLivekitUrl === null ? [] : [{ type: 'livekit', livekit_service_url: config.rtcLivekitUrl }],
  }),
}))
