/** What GraphiQL opens with: one example of each kind. They work as they stand: test/interop/graphql runs them. */
export const examples: readonly string[] = [
  `# A query: who am I, and which rooms am I in? Put your access token into the headers below.
query Inbox {
  viewer { userId deviceId }
  inbox(first: 10) {
    edges { node { roomId title unread { notificationCount } newestEvent { sender { userId } common { ... on TextMessage { body } } } } }
  }
}
`,
  `# A mutation: a new room. Then write into it with
# sendMessage(roomId: "!…", txnId: "first", content: { msgtype: "m.text", body: "Hello" }) { eventId }
mutation CreateRoom {
  createRoom(input: { name: "Made in GraphiQL" }) { roomId room { title } }
}
`,
  `# A subscription: the inbox as it changes from now on; \`after\` goes on from a position after a cut.
# timeline(roomId: "!…") { position sender { userId } common { ... on TextMessage { body } } } is what is said in one room.
subscription InboxLive {
  inbox {
    position
    rooms { roomId title activity unread { notificationCount } newestEvent { type common { ... on TextMessage { body } } } }
    left
  }
}
`,
]
