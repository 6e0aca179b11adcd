package davxml

// PushRegister is the body of a registration for push messages
// (draft-bitfire-webdav-push, "Subscription Registration").
type PushRegister struct {
	Endpoint  string // push-resource
	PublicKey string // subscription-public-key of type p256dh
	Auth      string // auth-secret
	Content   bool   // tell of content updates
	Property  bool   // tell of property updates
	Expires   string // as sent: an HTTP date, or something else, which is to be ignored
}

// ParsePushRegister decodes a push-register. A registration without a trigger
// element asks for content updates: DAVx5 sends it so.
func ParsePushRegister(root *Node) (*PushRegister, error) {
	if err := want(root, PPushRegister); err != nil {
		return nil, err
	}
	sub := root.Child(PSubscription).Child(PWebPushSubscription)
	if sub == nil {
		return nil, condf(PInvalidSubscription, "the registration has no web-push-subscription")
	}
	p := &PushRegister{Endpoint: sub.Child(PPushResource).Value(), PublicKey: sub.Child(PSubscriptionPublicKey).Value(), Auth: sub.Child(PAuthSecret).Value()}
	if enc := sub.Child(PContentEncoding); enc != nil && enc.Value() != "aes128gcm" {
		return nil, condf(PInvalidSubscription, "content-encoding is aes128gcm")
	}
	if kind, ok := sub.Child(PSubscriptionPublicKey).Attr("type"); ok && kind != "p256dh" {
		return nil, condf(PInvalidSubscription, "subscription-public-key has the type p256dh")
	}
	if p.Endpoint == "" || p.PublicKey == "" || p.Auth == "" {
		return nil, condf(PInvalidSubscription, "a web-push-subscription has push-resource, subscription-public-key and auth-secret")
	}
	trigger := root.Child(PTrigger)
	p.Content = trigger == nil || trigger.Child(PContentUpdate) != nil
	p.Property = trigger.Child(PPropertyUpdate) != nil
	if !p.Content && !p.Property {
		return nil, condf(PNoSupportedTrigger, "the triggers are content-update and property-update")
	}
	p.Expires = root.Child(PExpires).Value()
	return p, nil
}
