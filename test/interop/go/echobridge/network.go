package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"maunium.net/go/mautrix/id"
)

// shape is what the account finds at its first login. It goes into the file then, so that a later change of the
// configuration does not change a network that exists.
type shape struct {
	Account     string `json:"account"`
	Portals     int    `json:"portals"`
	Ghosts      int    `json:"ghosts"`
	History     int    `json:"history"`
	Deep        int    `json:"deep,omitempty"` // the first so many chats have DeepHistory instead
	DeepHistory int    `json:"deep_history,omitempty"`
}

// record is one line of the network file: something a person did on the remote side (From "remote") or that reached it
// from Matrix (From "matrix"). The file is a journal rather than a table: after a kill a line is whole or recognisably
// torn, and the order in which things arrived is the very thing that tests ask for.
type record struct {
	Seq         int64      `json:"seq"`
	TS          int64      `json:"ts"`             // milliseconds
	From        string     `json:"from,omitempty"` // none: history
	Kind        string     `json:"kind"`
	Portal      int        `json:"portal"`
	Ghost       int        `json:"ghost"` // who did it; 0 is the account itself
	ID          string     `json:"id,omitempty"`
	Target      string     `json:"target,omitempty"`
	Text        string     `json:"text,omitempty"`
	Emoji       string     `json:"emoji,omitempty"`
	MS          int64      `json:"ms,omitempty"` // typing on the remote side: for how long
	Typing      bool       `json:"typing,omitempty"`
	Refused     bool       `json:"refused,omitempty"`
	Sender      id.UserID  `json:"sender,omitempty"`
	Event       id.EventID `json:"event_id,omitempty"`
	TargetEvent id.EventID `json:"target_event_id,omitempty"`
	Shape       *shape     `json:"shape,omitempty"`
	Deleted     bool       `json:"deleted,omitempty"` // by a later record; never in the file
}

func find(messages []record, id string) *record {
	if i := slices.IndexFunc(messages, func(m record) bool { return m.ID == id }); i >= 0 {
		return &messages[i]
	}
	return nil
}

type network struct {
	mu       sync.Mutex
	out      *os.File
	seq, ts  int64
	shape    shape
	chats    [][]record // the messages of each portal; portal 1 is at 0
	received []record
	refuse   deed // what to refuse next and, in refusal, how; not kept over a restart
	refusal  error
}

func openNetwork(path string) (*network, error) {
	n := &network{}
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	data = data[:bytes.LastIndexByte(data, '\n')+1] // a torn last line was never acknowledged to anybody
	for line := range bytes.Lines(data) {
		var r record
		if err = json.Unmarshal(line, &r); err != nil {
			return nil, fmt.Errorf("%s: after record %d: %w", path, n.seq, err)
		}
		n.apply(r)
	}
	if n.out, err = os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600); err == nil {
		err = n.out.Truncate(int64(len(data)))
	}
	return n, err
}

// add gives a record its place and time, writes it and applies it; the error is the network's refusal of it. There is
// no fsync: tests kill processes, not machines.
func (n *network) add(r record) (record, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	// Times never repeat, because bridgev2 finds the messages that it missed by comparing times.
	r.Seq, r.TS = n.seq+1, max(n.ts+1, time.Now().UnixMilli())
	if r.From == "matrix" && n.refuse.Count > 0 && n.refuse.Kind == r.Kind {
		n.refuse.Count--
		r.Refused = true
	} else if r.Kind == "message" {
		r.ID = fmt.Sprintf("m%d", r.Seq)
	}
	line, err := json.Marshal(r)
	if err == nil {
		_, err = n.out.Write(append(line, '\n'))
	}
	if err != nil {
		panic(fmt.Errorf("writing the network file: %w", err)) // going on would make every later answer a lie
	}
	n.apply(r)
	if r.Refused {
		return r, n.refusal
	}
	return r, nil
}

func (n *network) apply(r record) {
	n.seq, n.ts = r.Seq, r.TS
	if r.From == "matrix" {
		n.received = append(n.received, r)
	}
	if r.Shape != nil { // the first login
		n.shape = *r.Shape
		for i := range r.Shape.Portals {
			history := r.Shape.History
			if i < r.Shape.Deep {
				history = r.Shape.DeepHistory
			}
			n.newChat(r.TS, history)
		}
		return
	} else if r.Refused {
		return
	}
	messages := &n.chats[r.Portal-1]
	if r.Kind == "message" {
		*messages = append(*messages, r)
	} else if m := find(*messages, r.Target); m != nil && r.Kind == "edit" {
		m.Text = r.Text
	} else if m != nil && r.Kind == "redaction" {
		m.Deleted = true
	}
}

// newChat invents the history: a message a minute up to the moment ts, by everybody in turn, the account included.
func (n *network) newChat(ts int64, history int) {
	portal, messages := len(n.chats)+1, []record{}
	for i := 1; i <= history; i++ {
		messages = append(messages, record{
			Kind: "message", Portal: portal, ID: fmt.Sprintf("h%d.%d", portal, i), Ghost: i % (n.shape.Ghosts + 1),
			TS: ts - int64(history-i+1)*60_000, Text: fmt.Sprintf("chat %d, history %d of %d", portal, i, history),
		})
	}
	n.chats = append(n.chats, messages)
}

// facts is the shape of the network as it is by now; without an account there has been no login.
func (n *network) facts() shape {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.shape.Portals = len(n.chats)
	return n.shape
}

// messages returns a copy, to be read at leisure.
func (n *network) messages(portal int) ([]record, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if portal < 1 || portal > len(n.chats) {
		return nil, fmt.Errorf("no portal %d", portal)
	}
	return slices.Clone(n.chats[portal-1]), nil
}
