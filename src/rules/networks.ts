/** Which network addresses may be connected to. */
import { BlockList, isIPv4, isIPv6 } from 'node:net'

/** Whether an IP address, written as text, belongs to the networks. */
export type Networks = (address: string) => boolean

/** From CIDR notation, such as 10.0.0.0/8 or ::1/128. Throws an Error that names what is none. */
export function compileNetworks(cidrs: readonly string[]): Networks {
  const list = new BlockList()
  for (const cidr of cidrs) {
    const [network = '', prefix = ''] = cidr.trim().split('/')
    const family = isIPv4(network) ? 'ipv4' : isIPv6(network) ? 'ipv6' : null
    if (!family || !/^\d{1,3}$/.test(prefix) || Number(prefix) > (family === 'ipv4' ? 32 : 128)) throw new Error(`Not a network: ${cidr}`)
    list.addSubnet(network, Number(prefix), family)
  }
  return (address) => {
    const bare = address.replace(/%.*$/, '')
    if (isIPv4(bare)) return list.check(bare, 'ipv4')
    if (!isIPv6(bare)) return false
    const inside = embeddedIPv4(bare)
    return inside ? list.check(inside, 'ipv4') : list.check(bare, 'ipv6')
  }
}

/** `::ffff:10.0.0.1` reaches 10.0.0.1, in whatever way it is spelt. */
function embeddedIPv4(address: string): string | null {
  const match = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(canonicalIPv6(address))
  if (!match) return null
  const bits = (Number.parseInt(match[1]!, 16) << 16) | Number.parseInt(match[2]!, 16)
  return [24, 16, 8, 0].map((shift) => (bits >>> shift) & 255).join('.')
}

function canonicalIPv6(address: string): string {
  return new URL(`http://[${address}]`).hostname.slice(1, -1)
}

/** Whose an address is, where somebody is counted by it: an IPv6 connection has a network of 64 bits to itself. */
export function subscriberOf(address: string): string {
  const bare = address.replace(/%.*$/, '')
  if (!isIPv6(bare)) return bare
  const inside = embeddedIPv4(bare)
  if (inside) return inside
  const [left = [], right = []] = canonicalIPv6(bare)
    .split('::')
    .map((half) => half.split(':').filter(Boolean))
  const zeros = Array<string>(8 - left.length - right.length).fill('0')
  return `${[...left, ...zeros, ...right].slice(0, 4).join(':')}::/64`
}

/** What is not the public internet. https://www.iana.org/assignments/iana-ipv4-special-registry and the one for IPv6 */
const special = compileNetworks([
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
  '::/96',
  '64:ff9b::/96',
  '64:ff9b:1::/48',
  '100::/64',
  '2001::/23',
  '2001:db8::/32',
  '2002::/16',
  '3fff::/20',
  '5f00::/16',
  'fc00::/7',
  'fe80::/10',
  'fec0::/10',
  'ff00::/8',
])

/** The public internet. */
export const publicNetwork: Networks = (address) => (isIPv4(address) || isIPv6(address.replace(/%.*$/, ''))) && !special(address)
