package davxml

// Properties of RFC 4918 §15, RFC 3744 §4 and §5, RFC 3253 §3.1, RFC 4331, RFC 5397,
// RFC 5842, RFC 5995 and RFC 6578.
var (
	DACL                      = Name{NSDAV, "acl"}
	DACLRestrictions          = Name{NSDAV, "acl-restrictions"}
	DAddMember                = Name{NSDAV, "add-member"}
	DAlternateURISet          = Name{NSDAV, "alternate-URI-set"}
	DCreationDate             = Name{NSDAV, "creationdate"}
	DCurrentUserPrincipal     = Name{NSDAV, "current-user-principal"}
	DCurrentUserPrivilegeSet  = Name{NSDAV, "current-user-privilege-set"}
	DDisplayName              = Name{NSDAV, "displayname"}
	DGetContentLanguage       = Name{NSDAV, "getcontentlanguage"}
	DGetContentLength         = Name{NSDAV, "getcontentlength"}
	DGetContentType           = Name{NSDAV, "getcontenttype"}
	DGetETag                  = Name{NSDAV, "getetag"}
	DGetLastModified          = Name{NSDAV, "getlastmodified"}
	DGroup                    = Name{NSDAV, "group"}
	DGroupMemberSet           = Name{NSDAV, "group-member-set"}
	DGroupMembership          = Name{NSDAV, "group-membership"}
	DInheritedACLSet          = Name{NSDAV, "inherited-acl-set"}
	DLockDiscovery            = Name{NSDAV, "lockdiscovery"}
	DOwner                    = Name{NSDAV, "owner"}
	DParentSet                = Name{NSDAV, "parent-set"}
	DPrincipalCollectionSet   = Name{NSDAV, "principal-collection-set"}
	DPrincipalURL             = Name{NSDAV, "principal-URL"}
	DQuotaAvailableBytes      = Name{NSDAV, "quota-available-bytes"}
	DQuotaUsedBytes           = Name{NSDAV, "quota-used-bytes"}
	DResourceID               = Name{NSDAV, "resource-id"}
	DResourceType             = Name{NSDAV, "resourcetype"}
	DSupportedLivePropertySet = Name{NSDAV, "supported-live-property-set"}
	DSupportedMethodSet       = Name{NSDAV, "supported-method-set"}
	DSupportedPrivilegeSet    = Name{NSDAV, "supported-privilege-set"}
	DSupportedReportSet       = Name{NSDAV, "supported-report-set"}
	DSupportedLock            = Name{NSDAV, "supportedlock"}
	DSyncToken                = Name{NSDAV, "sync-token"}
)

// Elements of requests and answers.
var (
	DACE                           = Name{NSDAV, "ace"}
	DAbstract                      = Name{NSDAV, "abstract"}
	DActiveLock                    = Name{NSDAV, "activelock"}
	DAllProp                       = Name{NSDAV, "allprop"}
	DApplyToPrincipalCollectionSet = Name{NSDAV, "apply-to-principal-collection-set"}
	DCaseless                      = Name{NSDAV, "caseless"}
	DCollection                    = Name{NSDAV, "collection"}
	DDeny                          = Name{NSDAV, "deny"}
	DDepth                         = Name{NSDAV, "depth"}
	DDescription                   = Name{NSDAV, "description"}
	DError                         = Name{NSDAV, "error"}
	DExclusive                     = Name{NSDAV, "exclusive"}
	DGrant                         = Name{NSDAV, "grant"}
	DGrantOnly                     = Name{NSDAV, "grant-only"}
	DHref                          = Name{NSDAV, "href"}
	DInclude                       = Name{NSDAV, "include"}
	DInherited                     = Name{NSDAV, "inherited"}
	DInvert                        = Name{NSDAV, "invert"}
	DLimit                         = Name{NSDAV, "limit"}
	DLocation                      = Name{NSDAV, "location"}
	DLockEntry                     = Name{NSDAV, "lockentry"}
	DLockInfo                      = Name{NSDAV, "lockinfo"}
	DLockRoot                      = Name{NSDAV, "lockroot"}
	DLockScope                     = Name{NSDAV, "lockscope"}
	DLockToken                     = Name{NSDAV, "locktoken"}
	DLockType                      = Name{NSDAV, "locktype"}
	DMatch                         = Name{NSDAV, "match"}
	DMkCol                         = Name{NSDAV, "mkcol"}
	DMkColResponse                 = Name{NSDAV, "mkcol-response"}
	DMultistatus                   = Name{NSDAV, "multistatus"}
	DNResults                      = Name{NSDAV, "nresults"}
	DPrincipal                     = Name{NSDAV, "principal"}
	DPrincipalProperty             = Name{NSDAV, "principal-property"}
	DPrincipalSearchProperty       = Name{NSDAV, "principal-search-property"}
	DPrivilege                     = Name{NSDAV, "privilege"}
	DProp                          = Name{NSDAV, "prop"}
	DProperty                      = Name{NSDAV, "property"}
	DPropertySearch                = Name{NSDAV, "property-search"}
	DPropertyUpdate                = Name{NSDAV, "propertyupdate"}
	DPropFind                      = Name{NSDAV, "propfind"}
	DPropName                      = Name{NSDAV, "propname"}
	DPropStat                      = Name{NSDAV, "propstat"}
	DProtected                     = Name{NSDAV, "protected"}
	DRemove                        = Name{NSDAV, "remove"}
	DReport                        = Name{NSDAV, "report"}
	DRequiredPrincipal             = Name{NSDAV, "required-principal"}
	DResource                      = Name{NSDAV, "resource"}
	DResponse                      = Name{NSDAV, "response"}
	DResponseDescription           = Name{NSDAV, "responsedescription"}
	DSelf                          = Name{NSDAV, "self"}
	DSet                           = Name{NSDAV, "set"}
	DShared                        = Name{NSDAV, "shared"}
	DStatus                        = Name{NSDAV, "status"}
	DSupportedLiveProperty         = Name{NSDAV, "supported-live-property"}
	DSupportedMethod               = Name{NSDAV, "supported-method"}
	DSupportedPrivilege            = Name{NSDAV, "supported-privilege"}
	DSupportedReport               = Name{NSDAV, "supported-report"}
	DSyncLevel                     = Name{NSDAV, "sync-level"}
	DTimeout                       = Name{NSDAV, "timeout"}
)

// Report names (RFC 3253 §3.8, RFC 3744 §9, RFC 6578 §3.2).
var (
	DACLPrincipalPropSet        = Name{NSDAV, "acl-principal-prop-set"}
	DExpandProperty             = Name{NSDAV, "expand-property"}
	DPrincipalMatch             = Name{NSDAV, "principal-match"}
	DPrincipalPropertySearch    = Name{NSDAV, "principal-property-search"}
	DPrincipalSearchPropertySet = Name{NSDAV, "principal-search-property-set"}
	DSyncCollection             = Name{NSDAV, "sync-collection"}
)

// Privileges and pseudo-principals (RFC 3744 §3 and §5.5.1). DAV:all is both.
var (
	DAll                         = Name{NSDAV, "all"}
	DAuthenticated               = Name{NSDAV, "authenticated"}
	DUnauthenticated             = Name{NSDAV, "unauthenticated"}
	DRead                        = Name{NSDAV, "read"}
	DWrite                       = Name{NSDAV, "write"}
	DWriteProperties             = Name{NSDAV, "write-properties"}
	DWriteContent                = Name{NSDAV, "write-content"}
	DBind                        = Name{NSDAV, "bind"}
	DUnbind                      = Name{NSDAV, "unbind"}
	DUnlock                      = Name{NSDAV, "unlock"}
	DReadACL                     = Name{NSDAV, "read-acl"}
	DReadCurrentUserPrivilegeSet = Name{NSDAV, "read-current-user-privilege-set"}
	DWriteACL                    = Name{NSDAV, "write-acl"}
)

// Pre- and postconditions (RFC 4918 §16, RFC 3253 §1.6, RFC 3744 §7 to §9, RFC 4331 §6,
// RFC 5689 §3.5, RFC 6578 §3.2).
var (
	DAllowedPrincipal              = Name{NSDAV, "allowed-principal"}
	DCannotModifyProtectedProperty = Name{NSDAV, "cannot-modify-protected-property"}
	DDenyBeforeGrant               = Name{NSDAV, "deny-before-grant"}
	DLimitedNumberOfACEs           = Name{NSDAV, "limited-number-of-aces"}
	DLockTokenMatchesRequestURI    = Name{NSDAV, "lock-token-matches-request-uri"}
	DLockTokenSubmitted            = Name{NSDAV, "lock-token-submitted"}
	DMissingRequiredPrincipal      = Name{NSDAV, "missing-required-principal"}
	DNeedPrivileges                = Name{NSDAV, "need-privileges"}
	DNoAbstract                    = Name{NSDAV, "no-abstract"}
	DNoACEConflict                 = Name{NSDAV, "no-ace-conflict"}
	DNoConflictingLock             = Name{NSDAV, "no-conflicting-lock"}
	DNoExternalEntities            = Name{NSDAV, "no-external-entities"}
	DNoInheritedACEConflict        = Name{NSDAV, "no-inherited-ace-conflict"}
	DNoInvert                      = Name{NSDAV, "no-invert"}
	DNoProtectedACEConflict        = Name{NSDAV, "no-protected-ace-conflict"}
	DNotSupportedPrivilege         = Name{NSDAV, "not-supported-privilege"}
	DNumberOfMatchesWithinLimits   = Name{NSDAV, "number-of-matches-within-limits"}
	DPreservedLiveProperties       = Name{NSDAV, "preserved-live-properties"}
	DPropFindFiniteDepth           = Name{NSDAV, "propfind-finite-depth"}
	DQuotaNotExceeded              = Name{NSDAV, "quota-not-exceeded"}
	DRecognizedPrincipal           = Name{NSDAV, "recognized-principal"}
	DResourceMustBeNull            = Name{NSDAV, "resource-must-be-null"}
	DSufficientDiskSpace           = Name{NSDAV, "sufficient-disk-space"}
	DSyncTraversalSupported        = Name{NSDAV, "sync-traversal-supported"}
	DValidResourceType             = Name{NSDAV, "valid-resourcetype"}
	DValidSyncToken                = Name{NSDAV, "valid-sync-token"}
)
