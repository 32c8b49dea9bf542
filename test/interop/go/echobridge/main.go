// Echobridge is a Matrix bridge to a network that lives in one file. Interop tests run it as a bridge that is real in
// everything but its network: the framework (bridgev2) is the one under the published bridges, and a control port lets
// the test play the people on the other side. See ../README.md.
package main

import "maunium.net/go/mautrix/bridgev2/matrix/mxmain"

func main() {
	e := &echo{}
	m := &mxmain.BridgeMain{
		Name: "echobridge", URL: "https://localhost/echobridge", Version: "0.1.0",
		Description: "A bridge to a network in a file, for interop tests.",
		Connector:   e,
	}
	m.PostInit = func() { e.beExact(m) }
	m.InitVersion("unknown", "unknown", "unknown")
	m.Run()
}
