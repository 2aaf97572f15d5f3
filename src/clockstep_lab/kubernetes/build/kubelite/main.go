// kubelite: an API server for tests, linked from Debian unstable's k8s.io/apiserver and k8s.io/apiextensions-apiserver
// (Kubernetes 1.36). No package has the rest of kube-apiserver, so this is not it.
//
// Real: transport, storage in etcd, watch, all patches and server-side apply, strict decoding, discovery, OpenAPI v3,
// audit, dry run, custom resources with CEL, ValidatingAdmissionPolicy, MutatingAdmissionPolicy, webhooks.
//
// Short, and written here: validation and defaults of the built-in types, RBAC, eviction under budgets, approval of
// signing requests, graceful deletion of pods.
//
// Missing: tokens of service accounts (there is a token file), node authorizer, NodeRestriction, aggregation, scale,
// logs, exec, priority and fairness, controllers.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"time"

	"github.com/spf13/pflag"
	apiext "k8s.io/apiextensions-apiserver/pkg/apiserver"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/discovery/aggregated"
	openapinamer "k8s.io/apiserver/pkg/endpoints/openapi"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/options"
	"k8s.io/apiserver/pkg/storage/storagebackend"
	"k8s.io/apiserver/pkg/util/openapi"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	clientscheme "k8s.io/client-go/kubernetes/scheme"

	generatedopenapi "clockstep/kubelite/openapi"
)

type flags struct {
	run       *options.ServerRunOptions
	etcd      *options.EtcdOptions
	serving   *options.SecureServingOptionsWithLoopback
	audit     *options.AuditOptions
	admission *options.AdmissionOptions
	tokens    string
	clientCA  string
	mode      string
	anonymous bool
}

func main() {
	registerTypes()
	registerEvents()
	registerDefaults()
	var versions []schema.GroupVersion
	for _, g := range groups {
		versions = append(versions, g.gv)
	}
	o := flags{
		run: options.NewServerRunOptions(),
		etcd: options.NewEtcdOptions(
			storagebackend.NewDefaultConfig("/registry", codecs.LegacyCodec(versions...)),
		),
		serving:   options.NewSecureServingOptions().WithLoopback(),
		audit:     options.NewAuditOptions(),
		admission: options.NewAdmissionOptions(),
	}
	fs := pflag.NewFlagSet("kubelite", pflag.ContinueOnError)
	o.run.AddUniversalFlags(fs)
	o.etcd.AddFlags(fs)
	o.serving.AddFlags(fs)
	o.audit.AddFlags(fs)
	o.admission.AddFlags(fs)
	fs.StringVar(&o.tokens, "token-auth-file", "", "tokens: lines of token,user,uid,\"group,...\"")
	fs.StringVar(&o.clientCA, "client-ca-file", "", "the authorities whose client certificates are believed")
	fs.StringVar(&o.mode, "authorization-mode", "RBAC", "RBAC or AlwaysAllow")
	fs.BoolVar(
		&o.anonymous, "anonymous-auth", true, "whether requests without credentials are served as system:anonymous",
	)
	if err := fs.Parse(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if err := serve(genericapiserver.SetupSignalContext(), o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(ctx context.Context, o flags) error {
	if err := o.check(); err != nil {
		return err
	}
	cfg := genericapiserver.NewConfig(codecs)
	cfg.AggregatedDiscoveryGroupManager = aggregated.NewResourceManager("apis")
	if err := errors.Join(o.run.ApplyTo(cfg), o.serving.ApplyToConfig(cfg), o.etcd.ApplyTo(cfg)); err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(cfg.LoopbackClientConfig)
	if err != nil {
		return err
	}
	dyn, err := dynamic.NewForConfig(cfg.LoopbackClientConfig)
	if err != nil {
		return err
	}
	shared := informers.NewSharedInformerFactory(client, 10*time.Minute)
	if err := o.authenticate(cfg); err != nil {
		return err
	}
	o.authorize(cfg, shared)
	if err := errors.Join(
		o.audit.ApplyTo(cfg), o.admission.ApplyTo(cfg, shared, client, dyn, cfg.FeatureGate, cfg.EffectiveVersion),
	); err != nil {
		return err
	}
	namer := openapinamer.NewDefinitionNamer(scheme, apiext.Scheme, clientscheme.Scheme)
	cfg.OpenAPIV3Config = genericapiserver.DefaultOpenAPIV3Config(
		openapi.GetOpenAPIDefinitionsWithoutDisabledFeatures(generatedopenapi.GetOpenAPIDefinitions), namer,
	)
	cfg.OpenAPIV3Config.Info.Title = "kubelite"
	cfg.SkipOpenAPIInstallation = true // the server of the custom resources publishes it for both
	crds, err := customResources(cfg, o.etcd, shared, namer)
	if err != nil {
		return err
	}
	server, err := cfg.Complete(shared).New("kubelite", crds.GenericAPIServer)
	if err != nil {
		return err
	}
	if err := install(server, cfg, emptying{crds, dyn}); err != nil {
		return err
	}
	server.AddPostStartHookOrDie("first-objects", firstObjects(client))
	if err := discoverCustomResources(server, crds); err != nil {
		return err
	}
	ready := server.PrepareRun()
	if err := publishOpenAPI(server, crds, cfg); err != nil {
		return err
	}
	return ready.RunWithContext(ctx)
}

func (o flags) check() error {
	if err := o.run.Complete(); err != nil {
		return err
	}
	if o.serving.BindAddress == nil || o.serving.BindAddress.IsUnspecified() {
		o.serving.BindAddress = net.IPv4(127, 0, 0, 1)
	}
	if err := o.serving.MaybeDefaultWithSelfSignedCerts(
		"localhost",
		[]string{"kubernetes.default.svc", "kubernetes"},
		[]net.IP{net.IPv4(127, 0, 0, 1), o.serving.BindAddress},
	); err != nil {
		return err
	}
	return errors.Join(
		slices.Concat(
			o.run.Validate(), o.etcd.Validate(), o.serving.Validate(), o.audit.Validate(), o.admission.Validate(),
		)...,
	)
}
