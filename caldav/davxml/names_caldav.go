package davxml

// Properties of RFC 4791 §5.2 and §6.2, RFC 6638 §2 and §9, RFC 7809 §5, RFC 7953 §7,
// RFC 8607 §6 and Apple's default alarms.
var (
	CCalendarAvailability           = Name{NSCalDAV, "calendar-availability"}
	CCalendarDescription            = Name{NSCalDAV, "calendar-description"}
	CCalendarFreeBusySet            = Name{NSCalDAV, "calendar-free-busy-set"}
	CCalendarHomeSet                = Name{NSCalDAV, "calendar-home-set"}
	CCalendarTimezone               = Name{NSCalDAV, "calendar-timezone"}
	CCalendarTimezoneID             = Name{NSCalDAV, "calendar-timezone-id"}
	CCalendarUserAddressSet         = Name{NSCalDAV, "calendar-user-address-set"}
	CCalendarUserType               = Name{NSCalDAV, "calendar-user-type"}
	CDefaultAlarmVEventDate         = Name{NSCalDAV, "default-alarm-vevent-date"}
	CDefaultAlarmVEventDateTime     = Name{NSCalDAV, "default-alarm-vevent-datetime"}
	CDefaultAlarmVTodoDate          = Name{NSCalDAV, "default-alarm-vtodo-date"}
	CDefaultAlarmVTodoDateTime      = Name{NSCalDAV, "default-alarm-vtodo-datetime"}
	CManagedAttachmentsServerURL    = Name{NSCalDAV, "managed-attachments-server-URL"}
	CMaxAttachmentSize              = Name{NSCalDAV, "max-attachment-size"}
	CMaxAttachmentsPerResource      = Name{NSCalDAV, "max-attachments-per-resource"}
	CMaxAttendeesPerInstance        = Name{NSCalDAV, "max-attendees-per-instance"}
	CMaxDateTime                    = Name{NSCalDAV, "max-date-time"}
	CMaxInstances                   = Name{NSCalDAV, "max-instances"}
	CMaxResourceSize                = Name{NSCalDAV, "max-resource-size"}
	CMinDateTime                    = Name{NSCalDAV, "min-date-time"}
	CScheduleCalendarTransp         = Name{NSCalDAV, "schedule-calendar-transp"}
	CScheduleDefaultCalendarURL     = Name{NSCalDAV, "schedule-default-calendar-URL"}
	CScheduleInboxURL               = Name{NSCalDAV, "schedule-inbox-URL"}
	CScheduleOutboxURL              = Name{NSCalDAV, "schedule-outbox-URL"}
	CScheduleTag                    = Name{NSCalDAV, "schedule-tag"}
	CSupportedCalendarComponentSet  = Name{NSCalDAV, "supported-calendar-component-set"}
	CSupportedCalendarComponentSets = Name{NSCalDAV, "supported-calendar-component-sets"}
	CSupportedCalendarData          = Name{NSCalDAV, "supported-calendar-data"}
	CSupportedCollationSet          = Name{NSCalDAV, "supported-collation-set"}
	CSupportedRScaleSet             = Name{NSCalDAV, "supported-rscale-set"}
	CTimezoneServiceSet             = Name{NSCalDAV, "timezone-service-set"}
)

// Elements of requests, answers and property values.
var (
	CAllComp            = Name{NSCalDAV, "allcomp"}
	CAllProp            = Name{NSCalDAV, "allprop"}
	CCalendar           = Name{NSCalDAV, "calendar"}
	CCalendarData       = Name{NSCalDAV, "calendar-data"}
	CComp               = Name{NSCalDAV, "comp"}
	CCompFilter         = Name{NSCalDAV, "comp-filter"}
	CExpand             = Name{NSCalDAV, "expand"}
	CFilter             = Name{NSCalDAV, "filter"}
	CIsNotDefined       = Name{NSCalDAV, "is-not-defined"}
	CLimitFreeBusySet   = Name{NSCalDAV, "limit-freebusy-set"}
	CLimitRecurrenceSet = Name{NSCalDAV, "limit-recurrence-set"}
	CMkCalendar         = Name{NSCalDAV, "mkcalendar"}
	CMkCalendarResponse = Name{NSCalDAV, "mkcalendar-response"}
	COpaque             = Name{NSCalDAV, "opaque"}
	CParamFilter        = Name{NSCalDAV, "param-filter"}
	CProp               = Name{NSCalDAV, "prop"}
	CPropFilter         = Name{NSCalDAV, "prop-filter"}
	CRecipient          = Name{NSCalDAV, "recipient"}
	CRequestStatus      = Name{NSCalDAV, "request-status"}
	CResponse           = Name{NSCalDAV, "response"}
	CScheduleInbox      = Name{NSCalDAV, "schedule-inbox"}
	CScheduleOutbox     = Name{NSCalDAV, "schedule-outbox"}
	CScheduleResponse   = Name{NSCalDAV, "schedule-response"}
	CSupportedRScale    = Name{NSCalDAV, "supported-rscale"}
	CTextMatch          = Name{NSCalDAV, "text-match"}
	CTimeRange          = Name{NSCalDAV, "time-range"}
	CTimezone           = Name{NSCalDAV, "timezone"}
	CTimezoneID         = Name{NSCalDAV, "timezone-id"}
	CTransparent        = Name{NSCalDAV, "transparent"}
)

// Reports of RFC 4791 §7.
var (
	CCalendarMultiget = Name{NSCalDAV, "calendar-multiget"}
	CCalendarQuery    = Name{NSCalDAV, "calendar-query"}
	CFreeBusyQuery    = Name{NSCalDAV, "free-busy-query"}
)

// Privileges of RFC 4791 §6.1.1 and RFC 6638 §6.
var (
	CReadFreeBusy          = Name{NSCalDAV, "read-free-busy"}
	CScheduleDeliver       = Name{NSCalDAV, "schedule-deliver"}
	CScheduleDeliverInvite = Name{NSCalDAV, "schedule-deliver-invite"}
	CScheduleDeliverReply  = Name{NSCalDAV, "schedule-deliver-reply"}
	CScheduleQueryFreeBusy = Name{NSCalDAV, "schedule-query-freebusy"}
	CScheduleSend          = Name{NSCalDAV, "schedule-send"}
	CScheduleSendInvite    = Name{NSCalDAV, "schedule-send-invite"}
	CScheduleSendReply     = Name{NSCalDAV, "schedule-send-reply"}
	CScheduleSendFreeBusy  = Name{NSCalDAV, "schedule-send-freebusy"}
)

// Pre- and postconditions of RFC 4791 §5.3 and §7, RFC 6638 §3.2.4 and §5.1, RFC 7809 §5,
// RFC 8607 §3.11.
var (
	CAllowedAttendeeSchedulingObjectChange  = Name{NSCalDAV, "allowed-attendee-scheduling-object-change"}
	CAllowedOrganizerSchedulingObjectChange = Name{NSCalDAV, "allowed-organizer-scheduling-object-change"}
	CAttendeeAllowed                        = Name{NSCalDAV, "attendee-allowed"}
	CCalendarCollectionLocationOK           = Name{NSCalDAV, "calendar-collection-location-ok"}
	CDefaultCalendarNeeded                  = Name{NSCalDAV, "default-calendar-needed"}
	CInitializeCalendarCollection           = Name{NSCalDAV, "initialize-calendar-collection"}
	CNoUIDConflict                          = Name{NSCalDAV, "no-uid-conflict"}
	COrganizerAllowed                       = Name{NSCalDAV, "organizer-allowed"}
	COriginatorAllowed                      = Name{NSCalDAV, "originator-allowed"}
	COriginatorSpecified                    = Name{NSCalDAV, "originator-specified"}
	CRecipientPermissions                   = Name{NSCalDAV, "recipient-permissions"}
	CRecipientSpecified                     = Name{NSCalDAV, "recipient-specified"}
	CSameOrganizerInAllComponents           = Name{NSCalDAV, "same-organizer-in-all-components"}
	CSupportedCalendarComponent             = Name{NSCalDAV, "supported-calendar-component"}
	CSupportedCollation                     = Name{NSCalDAV, "supported-collation"}
	CSupportedFilter                        = Name{NSCalDAV, "supported-filter"}
	CUniqueSchedulingObjectResource         = Name{NSCalDAV, "unique-scheduling-object-resource"}
	CValidAction                            = Name{NSCalDAV, "valid-action"}
	CValidCalendarData                      = Name{NSCalDAV, "valid-calendar-data"}
	CValidCalendarObjectResource            = Name{NSCalDAV, "valid-calendar-object-resource"}
	CValidFilter                            = Name{NSCalDAV, "valid-filter"}
	CValidManagedID                         = Name{NSCalDAV, "valid-managed-id"}
	CValidOrganizer                         = Name{NSCalDAV, "valid-organizer"}
	CValidRid                               = Name{NSCalDAV, "valid-rid"}
	CValidScheduleDefaultCalendarURL        = Name{NSCalDAV, "valid-schedule-default-calendar-URL"}
	CValidSchedulingMessage                 = Name{NSCalDAV, "valid-scheduling-message"}
	CValidTimezone                          = Name{NSCalDAV, "valid-timezone"}
)
