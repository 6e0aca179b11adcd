package scheduling

import (
	"context"

	"github.com/kalends/kalends/caldav/acl"
	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling/itip"
	"github.com/kalends/kalends/storage"
)

// Conditions of a change by a delegate who may write in the calendar but not send
// for its owner. They name privileges of the owner's outbox (RFC 6638 §6.2).
const (
	CondSendInvite Condition = "schedule-send-invite"
	CondSendReply  Condition = "schedule-send-reply"
)

// mandate is what somebody may send in the name of a calendar user.
type mandate struct{ invite, reply bool }

// mandateOf reads the rights on the outbox of account as they are now. The owner
// has all of them, and is not asked about.
func (s *Service) mandateOf(ctx context.Context, account, by storage.Account) (mandate, error) {
	if by.ID == 0 || by.ID == account.ID {
		return mandate{invite: true, reply: true}, nil
	}
	f, err := s.db.Find(ctx, storage.Query{Login: by.Handle, Home: account.Handle, Collection: "outbox"})
	if err != nil {
		return mandate{}, err
	}
	if f.Login == nil || f.Login.ID != by.ID || f.Login.Disabled || f.Home == nil || f.Collection == nil {
		return mandate{}, nil
	}
	rights := acl.All
	if f.Login.Rights&storage.RightReadAll == 0 {
		who := acl.Subject{Account: int64(by.ID), Authenticated: true, Proxy: f.Proxy}
		for _, g := range f.Groups {
			who.Groups = append(who.Groups, int64(g))
		}
		rights = acl.Evaluate(acl.List(acl.ScheduleOutbox, f.Collection.ACL, f.HomeACL), who)
	}
	return mandate{invite: rights.Has(acl.ScheduleSendInvite), reply: rights.Has(acl.ScheduleSendReply)}, nil
}

// allows tells whether a message may be sent.
func (m mandate) allows(method string) bool {
	switch method {
	case "REPLY", "COUNTER", "REFRESH":
		return m.reply
	}
	return m.invite
}

// check refuses a plan that sends what the actor may not.
func (m mandate) check(msgs []itip.Message) error {
	for _, x := range msgs {
		if m.allows(x.Method) {
			continue
		}
		if x.Method == "REPLY" {
			return &Error{Condition: CondSendReply, Msg: "you may not answer invitations for the owner of this calendar"}
		}
		return &Error{Condition: CondSendInvite, Msg: "you may not send invitations for the owner of this calendar"}
	}
	return nil
}

// checkAll refuses who may not send everything.
func (m mandate) checkAll() error {
	return m.check([]itip.Message{{Method: "CANCEL"}, {Method: "REPLY"}})
}

// sentBy is the address of who acts for the owner, "" when he does it himself.
func (a Actor) sentBy() calendar.Address {
	if a.By.ID == 0 || a.By.ID == a.Account.ID {
		return ""
	}
	for _, x := range addressesOf(a.By) {
		if x.IsMailto() {
			return x
		}
	}
	return ""
}

// statusRevoked ends a queued message of a delegate who has lost the right to send
// it (RFC 6638 §3.2.9, want 42).
const statusRevoked = "3.8;The sender may not act for this calendar user any more"

// revoked tells whether a queued message was caused by somebody who may not send
// it any more. sender is who caused it, the zero Account when the owner did or who
// caused it is no more. What says that something is gone from the owner's calendar
// leaves in any case: the change has been made, no object is left that could show
// 3.8, and the others would have for ever what he has no more.
func (s *Service) revoked(ctx context.Context, m storage.Message) (sender storage.Account, revoked bool, err error) {
	if m.By == 0 {
		return sender, false, nil
	}
	found, err := s.db.AccountsByID(ctx, []storage.AccountID{m.Account, m.By})
	if err != nil {
		return sender, false, err
	}
	sender = found[m.By]
	var may mandate
	if sender.ID != 0 {
		may, err = s.mandateOf(ctx, found[m.Account], sender)
	}
	if err != nil || may.allows(m.Method) || m.Method == "CANCEL" {
		return sender, false, err
	}
	err = s.db.View(ctx, func(ctx context.Context, tx *storage.Tx) error {
		there, err := tx.ObjectsByUID(ctx, []storage.AccountID{m.Account}, m.UID, 0)
		revoked = len(there) > 0
		return err
	})
	return sender, revoked, err
}
