package davxml

// Properties of the calendarserver.org namespace.
var (
	CSAllowedSharingModes        = Name{NSCalendarServer, "allowed-sharing-modes"}
	CSAutoSchedule               = Name{NSCalendarServer, "auto-schedule"}
	CSAutoScheduleMode           = Name{NSCalendarServer, "auto-schedule-mode"}
	CSCalendarProxyRead          = Name{NSCalendarServer, "calendar-proxy-read"}
	CSCalendarProxyReadFor       = Name{NSCalendarServer, "calendar-proxy-read-for"}
	CSCalendarProxyWrite         = Name{NSCalendarServer, "calendar-proxy-write"}
	CSCalendarProxyWriteFor      = Name{NSCalendarServer, "calendar-proxy-write-for"}
	CSDropboxHomeURL             = Name{NSCalendarServer, "dropbox-home-URL"}
	CSEmailAddressSet            = Name{NSCalendarServer, "email-address-set"}
	CSExpandedGroupMemberSet     = Name{NSCalendarServer, "expanded-group-member-set"}
	CSExpandedGroupMembership    = Name{NSCalendarServer, "expanded-group-membership"}
	CSFirstName                  = Name{NSCalendarServer, "first-name"}
	CSGetCTag                    = Name{NSCalendarServer, "getctag"}
	CSInvite                     = Name{NSCalendarServer, "invite"}
	CSLastName                   = Name{NSCalendarServer, "last-name"}
	CSNotificationURL            = Name{NSCalendarServer, "notification-URL"}
	CSNotificationType           = Name{NSCalendarServer, "notificationtype"}
	CSPrePublishURL              = Name{NSCalendarServer, "pre-publish-url"}
	CSPublishURL                 = Name{NSCalendarServer, "publish-url"}
	CSPushTransports             = Name{NSCalendarServer, "push-transports"}
	CSPushKey                    = Name{NSCalendarServer, "pushkey"}
	CSRecordType                 = Name{NSCalendarServer, "record-type"}
	CSSharedURL                  = Name{NSCalendarServer, "shared-url"}
	CSSource                     = Name{NSCalendarServer, "source"}
	CSSubscribedStripAlarms      = Name{NSCalendarServer, "subscribed-strip-alarms"}
	CSSubscribedStripAttachments = Name{NSCalendarServer, "subscribed-strip-attachments"}
	CSSubscribedStripTodos       = Name{NSCalendarServer, "subscribed-strip-todos"}
	CSXMPPHeartbeatURI           = Name{NSCalendarServer, "xmpp-heartbeat-uri"}
	CSXMPPServer                 = Name{NSCalendarServer, "xmpp-server"}
	CSXMPPURI                    = Name{NSCalendarServer, "xmpp-uri"}
)

// Elements of the calendarserver.org namespace.
var (
	CSAccess                        = Name{NSCalendarServer, "access"}
	CSCalendarAvailability          = Name{NSCalendarServer, "calendar-availability"}
	CSCalendarServerPrincipalSearch = Name{NSCalendarServer, "calendarserver-principal-search"}
	CSCanBePublished                = Name{NSCalendarServer, "can-be-published"}
	CSCanBeShared                   = Name{NSCalendarServer, "can-be-shared"}
	CSCommonName                    = Name{NSCalendarServer, "common-name"}
	CSDTStamp                       = Name{NSCalendarServer, "dtstamp"}
	CSDropboxHome                   = Name{NSCalendarServer, "dropbox-home"}
	CSHostURL                       = Name{NSCalendarServer, "hosturl"}
	CSInReplyTo                     = Name{NSCalendarServer, "in-reply-to"}
	CSInviteAccepted                = Name{NSCalendarServer, "invite-accepted"}
	CSInviteDeclined                = Name{NSCalendarServer, "invite-declined"}
	CSInviteDeleted                 = Name{NSCalendarServer, "invite-deleted"}
	CSInviteInvalid                 = Name{NSCalendarServer, "invite-invalid"}
	CSInviteNoResponse              = Name{NSCalendarServer, "invite-noresponse"}
	CSInviteNotification            = Name{NSCalendarServer, "invite-notification"}
	CSInviteReply                   = Name{NSCalendarServer, "invite-reply"}
	CSLimit                         = Name{NSCalendarServer, "limit"}
	CSNResults                      = Name{NSCalendarServer, "nresults"}
	CSNotification                  = Name{NSCalendarServer, "notification"}
	CSNotifications                 = Name{NSCalendarServer, "notifications"}
	CSOrganizer                     = Name{NSCalendarServer, "organizer"}
	CSRead                          = Name{NSCalendarServer, "read"}
	CSReadWrite                     = Name{NSCalendarServer, "read-write"}
	CSRemove                        = Name{NSCalendarServer, "remove"}
	CSScheduleChanges               = Name{NSCalendarServer, "schedule-changes"}
	CSSearchToken                   = Name{NSCalendarServer, "search-token"}
	CSSet                           = Name{NSCalendarServer, "set"}
	CSShare                         = Name{NSCalendarServer, "share"}
	CSShared                        = Name{NSCalendarServer, "shared"}
	CSSharedAs                      = Name{NSCalendarServer, "shared-as"}
	CSSharedOwner                   = Name{NSCalendarServer, "shared-owner"}
	CSSubscribed                    = Name{NSCalendarServer, "subscribed"}
	CSSummary                       = Name{NSCalendarServer, "summary"}
	CSUID                           = Name{NSCalendarServer, "uid"}
	CSUser                          = Name{NSCalendarServer, "user"}
)

// Properties of Apple's iCal namespace.
var (
	ICalendarColor   = Name{NSAppleICal, "calendar-color"}
	ICalendarOrder   = Name{NSAppleICal, "calendar-order"}
	ILanguageCode    = Name{NSAppleICal, "language-code"}
	ILocationCode    = Name{NSAppleICal, "location-code"}
	IRefreshRate     = Name{NSAppleICal, "refreshrate"}
	IAutoProvisioned = Name{NSAppleICal, "autoprovisioned"}
)

// The me.com namespace.
var (
	MBulkRequests = Name{NSMobileMe, "bulk-requests"}
)

// WebDAV-Push (draft-bitfire-webdav-push).
var (
	PAuthSecret            = Name{NSPush, "auth-secret"}
	PContentEncoding       = Name{NSPush, "content-encoding"}
	PContentUpdate         = Name{NSPush, "content-update"}
	PExpires               = Name{NSPush, "expires"}
	PNoSupportedTrigger    = Name{NSPush, "no-supported-trigger"}
	PInvalidSubscription   = Name{NSPush, "invalid-subscription"}
	PPropertyUpdate        = Name{NSPush, "property-update"}
	PPushMessage           = Name{NSPush, "push-message"}
	PPushNotAvailable      = Name{NSPush, "push-not-available"}
	PPushRegister          = Name{NSPush, "push-register"}
	PPushResource          = Name{NSPush, "push-resource"}
	PSubscription          = Name{NSPush, "subscription"}
	PSubscriptionPublicKey = Name{NSPush, "subscription-public-key"}
	PSupportedTriggers     = Name{NSPush, "supported-triggers"}
	PTopic                 = Name{NSPush, "topic"}
	PTransports            = Name{NSPush, "transports"}
	PTrigger               = Name{NSPush, "trigger"}
	PVAPIDPublicKey        = Name{NSPush, "vapid-public-key"}
	PWebPush               = Name{NSPush, "web-push"}
	PWebPushSubscription   = Name{NSPush, "web-push-subscription"}
)

// The iSchedule namespace (draft-desruisseaux-ischedule).
var (
	SAdministrator       = Name{NSISchedule, "administrator"}
	SAttachments         = Name{NSISchedule, "attachments"}
	SCalendarData        = Name{NSISchedule, "calendar-data"}
	SCalendarDataType    = Name{NSISchedule, "calendar-data-type"}
	SCalendarDataTypes   = Name{NSISchedule, "calendar-data-types"}
	SCapabilities        = Name{NSISchedule, "capabilities"}
	SComponent           = Name{NSISchedule, "component"}
	SError               = Name{NSISchedule, "error"}
	SExternal            = Name{NSISchedule, "external"}
	SInline              = Name{NSISchedule, "inline"}
	SMaxContentLength    = Name{NSISchedule, "max-content-length"}
	SMaxDateTime         = Name{NSISchedule, "max-date-time"}
	SMaxInstances        = Name{NSISchedule, "max-instances"}
	SMaxRecipients       = Name{NSISchedule, "max-recipients"}
	SMethod              = Name{NSISchedule, "method"}
	SMinDateTime         = Name{NSISchedule, "min-date-time"}
	SQueryResult         = Name{NSISchedule, "query-result"}
	SRecipient           = Name{NSISchedule, "recipient"}
	SRequestStatus       = Name{NSISchedule, "request-status"}
	SResponse            = Name{NSISchedule, "response"}
	SResponseDescription = Name{NSISchedule, "response-description"}
	SRScale              = Name{NSISchedule, "rscale"}
	SRScales             = Name{NSISchedule, "rscales"}
	SScheduleResponse    = Name{NSISchedule, "schedule-response"}
	SSchedulingMessages  = Name{NSISchedule, "scheduling-messages"}
	SSerialNumber        = Name{NSISchedule, "serial-number"}
	SVersion             = Name{NSISchedule, "version"}
	SVersions            = Name{NSISchedule, "versions"}
)
