// Written by `npm run codegen` from the documents beside it. Do not edit.
import type { JsonText } from '../../src/graphql/execute.ts'

export type StateAfter = 'STABLE' | 'UNSTABLE'

export interface Documents {
  [`query WhoAmI { whoami { userId deviceId } }`]: {
    variables: {  }
    result: { readonly whoami: ({ readonly userId: string; readonly deviceId: string | null }) }
  }
  [`query Versions { versions { versions unstableFeatures } }`]: {
    variables: {  }
    result: { readonly versions: ({ readonly versions: readonly (string)[]; readonly unstableFeatures: object }) }
  }
  [`
    query Sync($since: String, $timeoutMs: Int, $filter: String, $fullState: Boolean, $setPresence: String, $stateAfter: StateAfter) {
      sync(since: $since, timeoutMs: $timeoutMs, filter: $filter, fullState: $fullState, setPresence: $setPresence, stateAfter: $stateAfter)
    }
  `]: {
    variables: { readonly since?: string | null | undefined; readonly timeoutMs?: number | null | undefined; readonly filter?: string | null | undefined; readonly fullState?: boolean | null | undefined; readonly setPresence?: string | null | undefined; readonly stateAfter?: StateAfter | null | undefined }
    result: { readonly sync: JsonText }
  }
}
