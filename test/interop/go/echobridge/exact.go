package main

import (
	"context"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/appservice"
	"maunium.net/go/mautrix/bridgev2"
	"maunium.net/go/mautrix/bridgev2/bridgeconfig"
	"maunium.net/go/mautrix/bridgev2/matrix"
	"maunium.net/go/mautrix/bridgev2/matrix/mxmain"
	"maunium.net/go/mautrix/bridgev2/networkid"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"
)

// beExact closes two gaps that a killed bridgev2 has, with `software: hungry` and a websocket: it acknowledges what it
// has only queued, and it sends what was under way again under new ids.
func (e *echo) beExact(m *mxmain.BridgeMain) {
	if e.exact = m.Config.Homeserver.Software == bridgeconfig.SoftwareHungry && m.Config.Homeserver.Websocket; !e.exact {
		return
	}
	m.Bridge.Matrix, bridgev2.PortalEventBuffer = exactMatrix{m.Matrix}, 0 // 0: whoever queues an event waits until it is dealt with
	started, handled := make(chan struct{}), event.Type{Type: "fi.echo.handled", Class: event.MessageEventType}
	m.PostStart = func() { close(started) }
	m.Matrix.EventProcessor.On(handled, func(_ context.Context, evt *event.Event) { close(evt.Content.Parsed.(chan struct{})) })
	m.Matrix.AS.PrepareWebsocket() // sets the usual handler
	take := m.Matrix.AS.WebsocketTransactionHandler
	m.Matrix.AS.WebsocketTransactionHandler = func(ctx context.Context, msg appservice.WebsocketMessage) (bool, any) {
		<-started // before that nobody is logged in, and what comes is dropped
		ok, answer := take(ctx, msg)
		done := make(chan struct{})
		m.Matrix.AS.Events <- &event.Event{Type: handled, Content: event.Content{Parsed: done}}
		<-done // it stood in line behind the events of the transaction
		return ok, answer
	}
}

type exactMatrix struct{ *matrix.Connector }

func (c exactMatrix) GhostIntent(user networkid.UserID) bridgev2.MatrixAPI {
	return exactIntent{c.Connector.GhostIntent(user).(*matrix.ASIntent)}
}

type exactIntent struct{ *matrix.ASIntent }

// SendMessage gives a new message the same ids at every attempt: its event the one that it has in a batch.
func (i exactIntent) SendMessage(ctx context.Context, room id.RoomID, kind event.Type, content *event.Content, extra *bridgev2.MatrixSendExtra) (*mautrix.RespSendEvent, error) {
	if kind != event.EventMessage || extra == nil || extra.MessageMeta == nil || extra.MessageMeta.MXID != "" {
		return i.ASIntent.SendMessage(ctx, room, kind, content, extra)
	}
	m := extra.MessageMeta
	if i.Connector.Config.Encryption.Require { // so every room is encrypted
		if err := i.Connector.Crypto.Encrypt(ctx, room, kind, content); err != nil {
			return nil, err
		}
		kind = event.EventEncrypted
	}
	return i.Matrix.SendMessageEvent(ctx, room, kind, content, mautrix.ReqSendEvent{
		Timestamp: extra.Timestamp.UnixMilli(), TransactionID: "echo_" + string(m.ID),
		MeowEventID: i.Connector.GenerateDeterministicEventID(room, m.Room, m.ID, m.PartID),
	})
}
