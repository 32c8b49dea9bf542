/** Messages from device to device, past all rooms. */
import { sendToDevice } from '../../devices/to-device.ts'
import { builder } from '../builder.ts'
import { requireActor } from '../context.ts'

builder.mutationField('sendToDevice', (t) =>
  t.boolean({
    description:
      'Sends messages to devices, such as room keys and the steps of a verification. Each waits until its device has taken it: the newest 10 000 of a device, for 30 days after the device was seen last. Any user to any user; whom or what the homeserver does not know is left out. Not for an appservice as the owner. Errors: M_FORBIDDEN, M_BAD_JSON, M_INVALID_PARAM for what is no user id, M_TOO_LARGE for a content above 64 KiB and for more than 5 000 messages or 8 MB in one call.',
    args: {
      eventType: t.arg.string({ required: true }),
      txnId: t.arg.string({ required: true, description: 'the same again of the same type does nothing' }),
      messages: t.arg({
        type: 'JsonObject',
        required: true,
        description: 'user id → device id → content. `*` instead of a device id: all devices of the user that are not named.',
      }),
    },
    resolve: (_, args, context) => sendToDevice(context.instance, requireActor(context), args),
  }),
)
