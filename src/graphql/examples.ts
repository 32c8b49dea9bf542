/** What GraphiQL opens with: one example of each kind. test/graphql holds them against the schema. */
export const examples: readonly string[] = [
  `# A query: who am I? Put your access token into the headers below.
query WhoAmI {
  whoami { userId deviceId }
}
`,
]
