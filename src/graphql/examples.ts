/** What GraphiQL opens with: one example of each kind. test/graphql holds them against the schema. */
export const examples: readonly string[] = [
  `# A query: who am I? Put your access token into the headers below.
query WhoAmI {
  whoami { userId deviceId }
}
`,
  `# A mutation: write into a room. The same txnId again answers the first event.
mutation SendMessage {
  sendMessage(roomId: "!room:localhost", txnId: "first", content: { msgtype: "m.text", body: "Hello from GraphiQL" }) {
    eventId
  }
}
`,
  `# A subscription: what happens in a room from now on; \`after\` goes on from a position after a cut.
subscription Timeline {
  timeline(roomId: "!room:localhost") {
    position
    type
    sender { userId }
    common { ... on TextMessage { body } }
  }
}
`,
]
