package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

const (
	EventSendMessage = "send_message"
	EventNewMessage  = "new_message"
	EventChangeRoom  = "change_room"
)

// Event is what travels, in both directions.
type Event struct {
	Type    string          `json:"type"`
	Payload json.RawMessage `json:"payload"`
}

// EventHandler does what an event of a client asks for.
type EventHandler func(event Event, client *Client) error

type SendMessage struct {
	Message string `json:"message"`
	From    string `json:"from"`
}

type NewMessage struct {
	SendMessage
	Sent time.Time `json:"sent"`
}

type ChangeRoom struct {
	Name string `json:"name"`
}

// sendMessage hands a message to every client in the room, the sender included.
func sendMessage(event Event, client *Client) error {
	var said SendMessage
	if err := json.Unmarshal(event.Payload, &said); err != nil {
		return fmt.Errorf("bad payload: %w", err)
	}
	if said.Message == "" {
		return errors.New("a message without text")
	}
	said.From = client.user
	payload, err := json.Marshal(NewMessage{said, time.Now()})
	if err != nil {
		return err
	}
	client.broadcast(Event{EventNewMessage, payload})
	return nil
}

func changeRoom(event Event, client *Client) error {
	var change ChangeRoom
	if err := json.Unmarshal(event.Payload, &change); err != nil {
		return fmt.Errorf("bad payload: %w", err)
	}
	if change.Name == "" {
		return errors.New("a room without a name")
	}
	client.manager.move(client, change.Name)
	return nil
}
