package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"maunium.net/go/mautrix/bridgev2"
	"maunium.net/go/mautrix/bridgev2/database"
	"maunium.net/go/mautrix/bridgev2/networkid"
	"maunium.net/go/mautrix/bridgev2/simplevent"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"
)

// deed is the body of every POST: a record as the test would have it, and how often.
type deed struct {
	record
	Count int `json:"count"`
}

func (e *echo) listen() error {
	listener, err := net.Listen("tcp", e.cfg.Control)
	if err != nil {
		return err
	} else if !listener.Addr().(*net.TCPAddr).IP.IsLoopback() {
		return errors.New("network.control must be a loopback address: it asks for no password")
	}
	mux := http.NewServeMux()
	for route, do := range map[string]func(*http.Request, deed) (any, error){
		"GET /state": e.getState, "GET /messages": e.getMessages, "GET /received": e.getReceived,
		"POST /remote": e.postRemote, "POST /refuse": e.postRefuse,
	} {
		mux.HandleFunc(route, func(w http.ResponseWriter, r *http.Request) {
			var d deed
			body, err := any(nil), json.NewDecoder(r.Body).Decode(&d)
			if err == nil || r.Method == http.MethodGet {
				body, err = do(r, d)
			}
			if err != nil {
				w.WriteHeader(http.StatusBadRequest)
				body = map[string]string{"error": err.Error()}
			}
			_ = json.NewEncoder(w).Encode(body)
		})
	}
	go func() { _ = http.Serve(listener, mux) }()
	return nil
}

func key(portal int) networkid.PortalKey {
	return networkid.PortalKey{ID: networkid.PortalID(strconv.Itoa(portal))}
}

func sender(login *bridgev2.UserLogin, ghost int) bridgev2.EventSender {
	if ghost == 0 {
		return bridgev2.EventSender{IsFromMe: true, SenderLogin: login.ID, Sender: networkid.UserID(login.ID)}
	}
	return bridgev2.EventSender{Sender: networkid.UserID(strconv.Itoa(ghost))}
}

// dispatch hands a record to the bridge. The channel closes when it has been dealt with, so that a test knows what the
// homeserver must have without asking it again and again.
func (e *echo) dispatch(login *bridgev2.UserLogin, r record) <-chan struct{} {
	done := make(chan struct{})
	meta := simplevent.EventMeta{
		PortalKey: key(r.Portal), Sender: sender(login, r.Ghost), CreatePortal: true,
		Timestamp: time.UnixMilli(r.TS), PostHandleFunc: func(context.Context, *bridgev2.Portal) { close(done) },
	}
	target, emoji := networkid.MessageID(r.Target), networkid.EmojiID(r.Emoji)
	var evt bridgev2.RemoteEvent
	switch r.Kind {
	case "message":
		evt = &simplevent.PreConvertedMessage{EventMeta: meta.WithType(bridgev2.RemoteEventMessage), ID: networkid.MessageID(r.ID), Data: convert(r)}
	case "edit":
		evt = &simplevent.Message[record]{EventMeta: meta.WithType(bridgev2.RemoteEventEdit), TargetMessage: target, Data: r, ConvertEditFunc: convertEdit}
	case "reaction":
		evt = &simplevent.Reaction{EventMeta: meta.WithType(bridgev2.RemoteEventReaction), TargetMessage: target, Emoji: r.Emoji, EmojiID: emoji}
	case "reaction_remove":
		evt = &simplevent.Reaction{EventMeta: meta.WithType(bridgev2.RemoteEventReactionRemove), TargetMessage: target, EmojiID: emoji}
	case "redaction":
		evt = &simplevent.MessageRemove{EventMeta: meta.WithType(bridgev2.RemoteEventMessageRemove), TargetMessage: target}
	case "receipt":
		evt = &simplevent.Receipt{EventMeta: meta.WithType(bridgev2.RemoteEventReadReceipt), LastTarget: target}
	case "typing":
		evt = &simplevent.Typing{EventMeta: meta.WithType(bridgev2.RemoteEventTyping), Timeout: time.Duration(r.MS) * time.Millisecond}
	case "chat": // all of them, after a reconnection
		evt = &simplevent.ChatResync{
			EventMeta: meta.WithType(bridgev2.RemoteEventChatResync), GetChatInfoFunc: login.Client.(*client).GetChatInfo,
			LatestMessageTS: meta.Timestamp, // always later than what the room has, so that FetchMessages is asked
		}
	}
	e.br.QueueRemoteEvent(login, evt)
	return done
}

func convert(m record) *bridgev2.ConvertedMessage {
	return &bridgev2.ConvertedMessage{Parts: []*bridgev2.ConvertedMessagePart{{
		Type: event.EventMessage, Content: &event.MessageEventContent{MsgType: event.MsgText, Body: m.Text},
	}}}
}

func convertEdit(_ context.Context, _ *bridgev2.Portal, _ bridgev2.MatrixAPI, old []*database.Message, r record) (*bridgev2.ConvertedEdit, error) {
	return &bridgev2.ConvertedEdit{ModifiedParts: []*bridgev2.ConvertedEditPart{convert(r).Parts[0].ToEditPart(old[0])}}, nil
}

// postRemote does what a person on the remote side does or, with a count, posts a burst: in one portal or, when portal
// is 0, in all of them in turn; by everybody in turn; queued without waiting in between.
func (e *echo) postRemote(r *http.Request, d deed) (any, error) {
	login := e.login.Load()
	if login == nil {
		return nil, errors.New("not logged in")
	}
	sent, waits, facts := []record{}, []<-chan struct{}{}, e.net.facts()
	first, portals := d.Portal, 1
	if d.Portal == 0 {
		first, portals = 1, max(1, facts.Portals)
	}
	for i := range max(1, d.Count) {
		one := d.record
		if d.Count > 0 {
			one.Portal, one.Ghost, one.Text = first+i%portals, 1+i/portals%max(1, facts.Ghosts), fmt.Sprintf("%s %d", d.Text, i/portals+1)
		}
		one, err := e.journal(one)
		if err != nil {
			return nil, err
		}
		sent, waits = append(sent, one), append(waits, e.dispatch(login, one))
	}
	for i := range sent {
		<-waits[i]
		if sent[i].Event = e.event(r.Context(), sent[i].ID); sent[i].ID != "" && sent[i].Event == "" {
			return nil, fmt.Errorf("message %s was not bridged", sent[i].ID)
		}
	}
	return map[string]any{"sent": sent}, nil
}

// journal checks a record and adds it to the network.
func (e *echo) journal(r record) (record, error) {
	r.From, r.Shape, r.Event = "remote", nil, ""
	messages, err := e.net.messages(r.Portal)
	if err != nil {
		return r, err
	}
	if m := find(messages, r.Target); m == nil && r.Target != "" {
		return r, fmt.Errorf("no message %q in portal %d", r.Target, r.Portal)
	} else if r.Kind == "edit" {
		r.Ghost = m.Ghost // nobody edits the messages of others
	}
	return e.net.add(r)
}

// event is the Matrix event of a message, or "" where the bridge has made none.
func (e *echo) event(ctx context.Context, message string) id.EventID {
	if part, err := e.br.DB.Message.GetFirstPartByID(ctx, "", networkid.MessageID(message)); err == nil && part != nil {
		return part.MXID
	}
	return ""
}

// postRefuse makes the network refuse the next count records of a kind that come from Matrix.
func (e *echo) postRefuse(_ *http.Request, d deed) (any, error) {
	refusal := bridgev2.WrapErrorInStatus(errors.New("the remote side refused it")).WithErrorAsMessage().
		WithErrorReason(event.MessageStatusNetworkError).WithIsCertain(true).WithSendNotice(true).WithStatus(event.MessageStatusFail)
	e.net.mu.Lock()
	defer e.net.mu.Unlock()
	d.Count = max(1, d.Count)
	e.net.refuse, e.net.refusal = d, refusal
	return map[string]any{"kind": d.Kind, "count": d.Count}, nil
}

func (e *echo) getState(r *http.Request, _ deed) (any, error) {
	portals := []map[string]any{}
	for n := range e.net.facts().Portals {
		portal, err := e.br.GetPortalByKey(r.Context(), key(n+1))
		bridged, err2 := e.br.DB.Message.CountMessagesInPortal(r.Context(), key(n+1))
		if err = errors.Join(err, err2); err != nil {
			return nil, err
		}
		portals = append(portals, map[string]any{"portal": n + 1, "room_id": portal.MXID, "bridged": bridged})
	}
	return map[string]any{"portals": portals}, nil
}

// getMessages shows a chat as the remote side sees it, each message with its event in the Matrix room.
func (e *echo) getMessages(r *http.Request, _ deed) (any, error) {
	portal, _ := strconv.Atoi(r.URL.Query().Get("portal"))
	messages, err := e.net.messages(portal)
	for i := range messages {
		messages[i].Event = cmp.Or(e.event(r.Context(), messages[i].ID), messages[i].Event)
	}
	return map[string]any{"messages": messages}, err
}

// getReceived lists what came from Matrix, in order.
func (e *echo) getReceived(*http.Request, deed) (any, error) {
	e.net.mu.Lock()
	defer e.net.mu.Unlock()
	return map[string]any{"received": append([]record{}, e.net.received...)}, nil
}
