package main

import (
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/group"
	"k8s.io/apiserver/pkg/authentication/request/anonymous"
	"k8s.io/apiserver/pkg/authentication/request/bearertoken"
	unionauth "k8s.io/apiserver/pkg/authentication/request/union"
	x509auth "k8s.io/apiserver/pkg/authentication/request/x509"
	"k8s.io/apiserver/pkg/authentication/token/tokenfile"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/client-go/informers"
)

// who asks: what a client certificate or a token of the file says
func (o flags) authenticate(cfg *genericapiserver.Config) error {
	var authn []authenticator.Request
	if o.clientCA != "" {
		ca, err := dynamiccertificates.NewDynamicCAContentFromFile("client-ca", o.clientCA)
		if err != nil {
			return err
		}
		if err := cfg.Authentication.ApplyClientCert(ca, cfg.SecureServing); err != nil {
			return err
		}
		authn = append(authn, x509auth.NewDynamic(ca.VerifyOptions, x509auth.CommonNameUserConversion))
	}
	if o.tokens != "" {
		known, err := tokenfile.NewCSV(o.tokens)
		if err != nil {
			return err
		}
		authn = append(authn, bearertoken.New(known))
	}
	var who authenticator.Request = group.NewAuthenticatedGroupAdder(unionauth.New(authn...))
	if o.anonymous {
		who = unionauth.NewFailOnError(who, anonymous.NewAuthenticator(nil))
	}
	cfg.Authentication.Authenticator = who
	return nil
}

// what they may do
func (o flags) authorize(cfg *genericapiserver.Config, shared informers.SharedInformerFactory) {
	switch o.mode {
	case "AlwaysAllow":
		cfg.Authorization.Authorizer = authorizerfactory.NewAlwaysAllowAuthorizer()
	default: // Node,RBAC reads as RBAC
		r := shared.Rbac().V1() // asked for once, so that they run from the start
		r.Roles().Informer()
		r.RoleBindings().Informer()
		r.ClusterRoles().Informer()
		r.ClusterRoleBindings().Informer()
		cfg.Authorization.Authorizer = rbac{shared}
	}
	genericapiserver.AuthorizeClientBearerToken(cfg.LoopbackClientConfig, &cfg.Authentication, &cfg.Authorization)
}
