package main

import (
	"strings"

	restful "github.com/emicklei/go-restful/v3"
	noop "go.opentelemetry.io/otel/trace/noop"
	apiextv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextv1beta1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1beta1"
	apiext "k8s.io/apiextensions-apiserver/pkg/apiserver"
	apiextoptions "k8s.io/apiextensions-apiserver/pkg/cmd/server/options"
	apiextopenapi "k8s.io/apiextensions-apiserver/pkg/generated/openapi"
	openapinamer "k8s.io/apiserver/pkg/endpoints/openapi"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/options"
	"k8s.io/apiserver/pkg/util/openapi"
	"k8s.io/apiserver/pkg/util/webhook"
	"k8s.io/client-go/informers"
	"k8s.io/kube-openapi/pkg/builder3"
	"k8s.io/kube-openapi/pkg/common/restfuladapter"
)

// custom resources: upstream's server, unchanged
func customResources(
	cfg *genericapiserver.Config, etcd *options.EtcdOptions, shared informers.SharedInformerFactory,
	namer *openapinamer.DefinitionNamer,
) (*apiext.CustomResourceDefinitions, error) {
	crdConfig := *cfg
	crdConfig.PostStartHooks = map[string]genericapiserver.PostStartHookConfigEntry{}
	crdConfig.SkipOpenAPIInstallation = false
	crdConfig.RESTOptionsGetter = nil
	crdEtcd := *etcd
	crdEtcd.StorageConfig.Codec = apiext.Codecs.LegacyCodec(
		apiextv1beta1.SchemeGroupVersion, apiextv1.SchemeGroupVersion,
	)
	crdEtcd.SkipHealthEndpoints = true
	if err := crdEtcd.ApplyTo(&crdConfig); err != nil {
		return nil, err
	}
	crdConfig.MergedResourceConfig = apiext.DefaultAPIResourceConfigSource()
	definitions := openapi.GetOpenAPIDefinitionsWithoutDisabledFeatures(apiextopenapi.GetOpenAPIDefinitions)
	crdConfig.OpenAPIConfig = genericapiserver.DefaultOpenAPIConfig(definitions, namer)
	crdConfig.OpenAPIV3Config = genericapiserver.DefaultOpenAPIV3Config(definitions, namer)
	return (&apiext.Config{
		GenericConfig: &genericapiserver.RecommendedConfig{
			Config: crdConfig, SharedInformerFactory: shared, ClientConfig: cfg.LoopbackClientConfig,
		},
		ExtraConfig: apiext.ExtraConfig{
			CRDRESTOptionsGetter: apiextoptions.NewCRDRESTOptionsGetter(
				*etcd, crdConfig.ResourceTransformers, crdConfig.StorageObjectCountTracker,
			),
			MasterCount:     1,
			ServiceResolver: webhook.NewDefaultServiceResolver(),
			AuthResolverWrapper: webhook.NewDefaultAuthenticationInfoResolverWrapper(
				nil, nil, cfg.LoopbackClientConfig, noop.NewTracerProvider(),
			),
		},
	}).Complete().New(genericapiserver.NewEmptyDelegate())
}

func publishOpenAPI(
	server *genericapiserver.GenericAPIServer, crds *apiext.CustomResourceDefinitions, cfg *genericapiserver.Config,
) error {
	for _, ws := range server.Handler.GoRestfulContainer.RegisteredWebServices() {
		spec, err := builder3.BuildOpenAPISpecFromRoutes(
			restfuladapter.AdaptWebServices([]*restful.WebService{ws}), cfg.OpenAPIV3Config,
		)
		if err != nil {
			return err
		}
		crds.GenericAPIServer.OpenAPIV3VersionedService.UpdateGroupVersion(strings.TrimPrefix(ws.RootPath(), "/"), spec)
	}
	return nil
}
