package main

import (
	"crypto/rand"
	"sync"
	"time"
)

const (
	otpLife       = 5 * time.Second
	sweepInterval = 400 * time.Millisecond
)

type ticket struct {
	user   string
	issued time.Time
}

// OTPs holds the one-time passwords that nobody has used yet.
type OTPs struct {
	mutex   sync.Mutex
	tickets map[string]ticket
}

func NewOTPs() *OTPs {
	otps := &OTPs{tickets: make(map[string]ticket)}
	go otps.sweep()
	return otps
}

// Issue makes a one-time password for a user who has logged in.
func (o *OTPs) Issue(user string) string {
	otp := rand.Text()
	o.mutex.Lock()
	defer o.mutex.Unlock()
	o.tickets[otp] = ticket{user, time.Now()}
	return otp
}

// Redeem uses one up, and tells whose it was.
func (o *OTPs) Redeem(otp string) (user string, ok bool) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	found, ok := o.tickets[otp]
	delete(o.tickets, otp)
	return found.user, ok && time.Since(found.issued) < otpLife
}

func (o *OTPs) sweep() {
	for range time.Tick(sweepInterval) {
		o.mutex.Lock()
		for otp, each := range o.tickets {
			if time.Since(each.issued) >= otpLife {
				delete(o.tickets, otp)
			}
		}
		o.mutex.Unlock()
	}
}
