/** The parts of a transaction besides its events. https://spec.matrix.org/v1.19/application-service-api/#put_matrixappv1transactionstxnid */

/** What the specification calls them → what proposals called them, which older bridges read. The last spelling is a slip of Synapse's. */
const names = {
  ephemeral: ['de.sorunome.msc2409.ephemeral'],
  to_device: ['de.sorunome.msc2409.to_device'],
  device_lists: ['org.matrix.msc3202.device_lists'],
  device_one_time_keys_count: ['org.matrix.msc3202.device_one_time_keys_count', 'org.matrix.msc3202.device_one_time_key_counts'],
  device_unused_fallback_key_types: ['org.matrix.msc3202.device_unused_fallback_key_types'],
} as const

/** JSON texts; what is absent, or a list without elements, says nothing. */
export type Parts = { readonly [Name in keyof typeof names]?: string | readonly string[] | undefined }

/** The JSON object of these parts, each under all its names; it is frozen verbatim. */
export function partsText(parts: Parts): string {
  const members = Object.entries(names).flatMap(([name, others]) => {
    const part = parts[name as keyof Parts]
    if (part === undefined || part.length === 0) return []
    const text = typeof part === 'string' ? part : `[${part.join()}]`
    return [name, ...others].map((each) => `${JSON.stringify(each)}:${text}`)
  })
  return `{${members.join()}}`
}
